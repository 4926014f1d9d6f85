//! Connections to Redis. One that has just answered is used again as it is; one that may be broken is asked first.

use std::time::Duration;

use deadpool::managed::{self, Metrics, Object, RecycleResult};
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{AsyncConnectionConfig, Cmd, Pipeline, RedisError, RedisFuture, RedisResult, Value};

/// A connection that was used within this time is not asked whether it lives: that would double the time of every operation.
/// Longer silence is what firewalls and servers cut connections for.
const FRESH: Duration = Duration::from_secs(1);

pub(super) type Pool = managed::Pool<Manager>;
/// A connection on loan.
pub(super) type Loan = Object<Manager>;

/// Makes connections, and decides which are used again.
#[derive(Debug)]
pub(super) struct Manager(deadpool_redis::Manager);

impl Manager {
    pub(super) fn new(url: &str, limits: AsyncConnectionConfig) -> RedisResult<Self> {
        deadpool_redis::Manager::new_with_config(url, limits).map(Self)
    }
}

impl managed::Manager for Manager {
    type Type = Connection;
    type Error = RedisError;

    async fn create(&self) -> Result<Connection, RedisError> {
        let inner = self.0.create().await?;
        Ok(Connection { inner, sound: true })
    }

    async fn recycle(&self, connection: &mut Connection, metrics: &Metrics) -> RecycleResult<RedisError> {
        if connection.sound && metrics.last_used() < FRESH {
            return Ok(());
        }
        self.0.recycle(&mut connection.inner, metrics).await?;
        connection.sound = true;
        Ok(())
    }
}

/// A connection, and whether its last command was answered. While a command is under way it is in doubt, so that a wait that
/// is given up leaves it so.
pub(super) struct Connection {
    inner: MultiplexedConnection,
    sound: bool,
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(async move {
            self.sound = false;
            let answer = self.inner.req_packed_command(cmd).await;
            self.sound = is_answer(&answer);
            answer
        })
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        Box::pin(async move {
            self.sound = false;
            let answer = self.inner.req_packed_commands(pipeline, offset, count).await;
            self.sound = is_answer(&answer);
            answer
        })
    }

    fn get_db(&self) -> i64 {
        self.inner.get_db()
    }
}

/// True for what the server has said, be it an error: those have a code.
fn is_answer<T>(answer: &RedisResult<T>) -> bool {
    answer.as_ref().err().is_none_or(|error| error.code().is_some())
}
