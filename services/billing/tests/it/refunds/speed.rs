//! How long those who ask are kept. Ignored: a machine that does other things says nothing.

use std::time::{Duration, Instant};

use super::shop::{self, Goods, Sold, sell, wish};
use crate::world::{World, as_user, config};

const AT_ONCE: usize = 32;
const EACH: usize = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures; run it alone and with --release"]
async fn a_refund_is_answered_within_20_ms() {
    let world = World::quiet(config()).await;
    world.sagas.stall("PAYMENT_REFUND");
    let mut sold: Vec<Sold> = Vec::new();
    for _ in 0..AT_ONCE * EACH {
        sold.push(sell(&world, "wechat", Goods::default()).await);
    }
    let callers = sold.chunks(EACH).map(|sold| {
        let mut client = shop::payments(&world.public);
        async move {
            let mut took = Vec::new();
            for sold in sold {
                let request = as_user(sold.user_id, wish(sold, 0, "r"));
                let begun = Instant::now();
                client.create_refund(request).await.unwrap();
                took.push(begun.elapsed());
            }
            took
        }
    });
    let mut took: Vec<Duration> = futures::future::join_all(callers).await.concat();
    took.sort();
    let at = |percent: usize| took[(took.len() * percent / 100).min(took.len() - 1)];
    println!("p50 {:?}, p99 {:?}, of {}", at(50), at(99), took.len());
    assert!(at(99) <= Duration::from_millis(20), "{:?}", at(99));
}
