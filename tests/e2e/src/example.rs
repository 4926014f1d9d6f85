//! The examples as participants of a platform.

use std::process::Command;

use sqlx::PgPool;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::TcpIncoming;

use crate::{Platform, binary};

/// Compiles a proto file, named from the root of the repository, as a newcomer does.
pub fn descriptors(proto: &str) -> Vec<u8> {
    let scratch = test_support::Scratch::new().expect("a directory can be made");
    let out = scratch.path().join("out.binpb");
    let compiled = Command::new(binary())
        .args(["proto", "compile"])
        .arg(format!("{}/../../{proto}", env!("CARGO_MANIFEST_DIR")))
        .arg("--out")
        .arg(&out)
        .output()
        .expect("the binary runs");
    assert!(
        compiled.status.success(),
        "{}",
        String::from_utf8_lossy(&compiled.stderr)
    );
    std::fs::read(out).expect("it was written")
}

impl Platform {
    /// Serves the example's steps in this process, from the next start of the orchestrator on, with an allocator of devices
    /// on this broker (the queue in the database if the URL is empty). Returns a pool on its tables.
    pub async fn shapes(&mut self, amqp_url: &str) -> PgPool {
        sqlx::query("create schema shapes")
            .execute(self.sql())
            .await
            .expect("a schema");
        let pool = self.database.pool(shapes::SCHEMA).await;
        shapes::create_tables(&pool).await.expect("tables");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("a bound port"));
        tokio::spawn(
            tonic::transport::Server::builder()
                .add_routes(shapes::routes(&pool))
                .serve_with_incoming(TcpIncoming::from(listener)),
        );
        self.foreign_participant("example.shapes.v1", url, shapes::DOMAIN, shapes::DESCRIPTOR_SET);
        self.allocator(&pool, amqp_url).await;
        pool
    }

    /// Starts one more allocator of devices; it ends when the token is cancelled, or with the test.
    pub async fn allocator(&self, pool: &PgPool, amqp_url: &str) -> CancellationToken {
        let config = events::Config {
            amqp_url: amqp_url.to_owned(),
            ..events::Config::default()
        };
        let queue = self.database.pool(events::SCHEMA).await;
        let broker = events::Broker::new(config, queue).expect("good settings");
        let stop = CancellationToken::new();
        for job in shapes::allocator(&broker, pool).expect("good names") {
            tokio::spawn((job.run)(stop.clone()));
        }
        stop
    }
}
