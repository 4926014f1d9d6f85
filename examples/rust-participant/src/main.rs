//! Serves the shop. `DATABASE_URL` and `LISTEN` say where; the defaults go with `evenkeel dev`.

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let setting = |name, default: &str| std::env::var(name).unwrap_or_else(|_| default.to_owned());
    let database = setting(
        "DATABASE_URL",
        "postgres://evenkeel@127.0.0.1:7100/evenkeel?sslmode=disable",
    );
    let listener = TcpListener::bind(setting("LISTEN", "127.0.0.1:7191"))
        .await
        .context("cannot listen")?;
    let shop = rust_participant::open(&database).await?;
    println!("the shop listens on {}", listener.local_addr()?);
    tonic::transport::Server::builder()
        .tcp_nodelay(true)
        .add_service(shop)
        .serve_with_incoming(TcpListenerStream::new(listener))
        .await?;
    Ok(())
}
