//! `ORDER` of the example `rust-participant`: a shop.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::json;
use tokio::net::TcpListener;
use tonic::transport::server::TcpIncoming;

use e2e::Platform;

use crate::generic::{Started, Subject};

const PACKAGE: &str = "acme.shop.v1";
const DOMAIN: &str = "shop.acme";

pub(crate) struct Order {
    next: AtomicU32,
}

impl Subject for Order {
    const SAGA: &'static str = "ORDER";

    async fn prepare(platform: &mut Platform) -> Self {
        let shop = rust_participant::open(&platform.database.url())
            .await
            .expect("the shop opens");
        sqlx::raw_sql(
            "update shop.stock set available = 1000; update shop.wallet set balance_minor = 100000",
        )
        .execute(platform.sql())
        .await
        .expect("the database answers");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("a bound port"));
        tokio::spawn(
            tonic::transport::Server::builder()
                .add_service(shop)
                .serve_with_incoming(TcpIncoming::from(listener)),
        );
        let descriptors = e2e::descriptors("examples/rust-participant/proto/acme/shop/v1/shop.proto");
        platform.foreign_participant(PACKAGE, url, DOMAIN, &descriptors);
        Self {
            next: AtomicU32::new(0),
        }
    }

    fn domains() -> BTreeMap<String, String> {
        [(PACKAGE.to_owned(), DOMAIN.to_owned())].into()
    }

    fn definition() -> Option<String> {
        Some(include_str!("../../../../../examples/rust-participant/ORDER.yaml").to_owned())
    }

    fn next(&self) -> Started {
        let order = format!("order-{}", self.next.fetch_add(1, Ordering::Relaxed));
        let input = json!({
            "orderId": order,
            "customer": "ada",
            "item": "kettle",
            "quantity": 2,
            "priceMinor": 500,
        });
        Started {
            business_id: order,
            input,
        }
    }

    async fn assert_settled(&self, platform: &Platform) {
        let books: (i64, i64) = sqlx::query_as(
            "select 1000 - (select available from shop.stock where item = 'kettle') \
                 - 2 * (select count(*) from shop.parcel), \
             100000 - (select balance_minor from shop.wallet where customer = 'ada') \
                 - 500 * (select count(*) from shop.parcel)",
        )
        .fetch_one(platform.sql())
        .await
        .expect("the database answers");
        assert_eq!(books, (0, 0), "stock and money that no parcel accounts for");
    }
}
