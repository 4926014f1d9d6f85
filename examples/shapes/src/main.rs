//! Serves the example, allocator included, or writes its descriptors.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use process::PoolConfig;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::TcpIncoming;

/// Participant of the sagas JOURNEY, TRANSFER and LEND.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serves the steps until the process is ended.
    Serve {
        /// Where to listen.
        #[arg(long, default_value = "127.0.0.1:7201")]
        listen: SocketAddr,
        /// Database; its tables are made in the schema `shapes` if that is absent.
        #[arg(long, env = "DATABASE_URL")]
        database_url: String,
        /// Broker of the events; without it the queue in the database, which Evenkeel has made there.
        #[arg(long, env = "AMQP_URL", default_value = "")]
        amqp_url: String,
    },
    /// Writes the types of the steps, for `descriptors` in the orchestrator's settings.
    Descriptors {
        /// The file to write.
        file: PathBuf,
    },
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Descriptors { file } => std::fs::write(&file, shapes::DESCRIPTOR_SET)
            .with_context(|| format!("writing {}", file.display())),
        Command::Serve {
            listen,
            database_url,
            amqp_url,
        } => serve(listen, database_url, amqp_url).await,
    }
}

async fn serve(listen: SocketAddr, url: String, amqp_url: String) -> anyhow::Result<()> {
    let config = PoolConfig {
        url,
        min: 1,
        max: 10,
        ..PoolConfig::default()
    };
    let pool = process::pool::connect("shapes", shapes::SCHEMA, &config).await?;
    let absent: bool = sqlx::query_scalar("select to_regclass('shapes.booking') is null")
        .fetch_one(&pool)
        .await?;
    if absent {
        sqlx::query("create schema if not exists shapes")
            .execute(&pool)
            .await?;
        shapes::create_tables(&pool).await?;
    }
    let broker = events::Config {
        amqp_url,
        ..events::Config::default()
    };
    let queue = process::pool::connect("events", events::SCHEMA, &config).await?;
    let broker = events::Broker::new(broker, queue)?;
    for job in shapes::allocator(&broker, &pool)? {
        tokio::spawn((job.run)(CancellationToken::new()));
    }
    let listener = TcpListener::bind(listen).await.context("the port is taken")?;
    eprintln!("listening on {}", listener.local_addr()?);
    tonic::transport::Server::builder()
        .add_routes(shapes::routes(&pool))
        .serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true)))
        .await?;
    Ok(())
}
