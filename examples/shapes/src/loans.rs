//! Devices on loan: the book is kept by calls, the devices are allocated by events.

use barrier::{Done, Stop};
use events::{Broker, Consumer, Event, HandlerError, Received, Relay, outbox};
use futures::FutureExt as _;
use rpc::step::StepCall;
use serde_json::{Value, json};
use sqlx::{PgConnection, PgPool};
use tonic::{Request, Response, Status};

use crate::v1::loan_steps_server::LoanSteps;
use crate::v1::{CloseRequest, CloseResponse, HandOverRequest, HandOverResponse, OpenRequest, OpenResponse};
use crate::{DOMAIN, SCHEMA, no};

/// Attribute of a request that its answer must carry.
const TOKEN: &str = "completiontoken";

pub(crate) struct Loans {
    pub(crate) pool: PgPool,
}

#[tonic::async_trait]
impl LoanSteps for Loans {
    async fn open(&self, request: Request<OpenRequest>) -> Result<Response<OpenResponse>, Status> {
        let call = StepCall::read(request.metadata(), DOMAIN)?;
        let request = request.get_ref();
        barrier::run(&self.pool, &call, request, DOMAIN, async |conn, _| {
            sqlx::query("insert into loan (loan_id, state) values ($1, 'open')")
                .bind(&request.loan_id)
                .execute(conn)
                .await?;
            Ok::<_, Stop>(Done::Reply(OpenResponse {}))
        })
        .await
    }

    async fn close(&self, request: Request<CloseRequest>) -> Result<Response<CloseResponse>, Status> {
        let call = StepCall::read(request.metadata(), DOMAIN)?;
        let request = request.get_ref();
        barrier::run(&self.pool, &call, request, DOMAIN, async |conn, _| {
            sqlx::query("update loan set state = 'closed' where loan_id = $1 and state = 'open'")
                .bind(&request.loan_id)
                .execute(conn)
                .await?;
            Ok::<_, Stop>(Done::Reply(CloseResponse {}))
        })
        .await
    }

    async fn hand_over(
        &self,
        request: Request<HandOverRequest>,
    ) -> Result<Response<HandOverResponse>, Status> {
        let call = StepCall::read(request.metadata(), DOMAIN)?;
        let request = request.get_ref();
        barrier::run(&self.pool, &call, request, DOMAIN, async |conn, _| {
            let sql =
                "update loan set state = 'handed over', device_id = $2 where loan_id = $1 and state = 'open'";
            let handed_over = sqlx::query(sql)
                .bind(&request.loan_id)
                .bind(&request.device_id)
                .execute(conn)
                .await?;
            if handed_over.rows_affected() == 0 {
                return Err(no("LOAN_NOT_OPEN", "there is no open loan"));
            }
            Ok::<_, Stop>(Done::Reply(HandOverResponse {}))
        })
        .await
    }
}

/// Returns the jobs that allocate devices: the consumer of requests, and the relay of answers.
///
/// # Errors
/// If the names are not usable, which they are.
pub fn allocator(broker: &Broker, pool: &PgPool) -> Result<[events::Job; 2], events::Error> {
    let relaying = broker.relay(Relay {
        service: "shapes",
        schema: SCHEMA,
        pool: pool.clone(),
        facts: &[],
    });
    let bindings = ["device.allocate.requested", "device.release"];
    let consumer = Consumer {
        queue: "shapes.devices",
        bindings: bindings
            .map(|topic| topic.parse().expect("a topic is a pattern"))
            .into(),
        schema: SCHEMA,
        pool: pool.clone(),
    };
    let consuming = broker.consumer(consumer, |conn, received| apply(conn, received).boxed())?;
    Ok([relaying.job, consuming.job])
}

/// Applies one event, in the transaction that holds its row of the inbox. The same request may come under another id, when
/// it is asked again: the loan's row makes that harmless.
async fn apply(conn: &mut PgConnection, received: &Received) -> Result<(), HandlerError> {
    let text = |name: &str| received.data.get(name).and_then(Value::as_str);
    let loan = text("loanId").ok_or_else(|| HandlerError::Dead("there is no loanId".to_owned()))?;
    if received.topic == "device.release" {
        let sql = "insert into device (loan_id, device_id, state) values ($1, '', 'released') \
                   on conflict (loan_id) do update set state = 'released'";
        sqlx::query(sql).bind(loan).execute(conn).await?;
        return Ok(());
    }
    if text("model") == Some("none") {
        let data = json!({ "reason": "NO_DEVICE_FREE", "message": "there is no such model" });
        return answer(conn, received, "device.allocate.failed", loan, data).await;
    }
    let sql = "insert into device (loan_id, device_id, state) values ($1, 'device-' || $1, 'allocated') \
               on conflict (loan_id) do nothing";
    sqlx::query(sql).bind(loan).execute(&mut *conn).await?;
    let found: Option<String> =
        sqlx::query_scalar("select device_id from device where loan_id = $1 and state = 'allocated'")
            .bind(loan)
            .fetch_optional(&mut *conn)
            .await?;
    match found {
        Some(device) => {
            let data = json!({ "deviceId": device });
            answer(conn, received, "device.allocated", loan, data).await
        }
        // It was released before it was asked for: nobody waits for an answer.
        None => Ok(()),
    }
}

async fn answer(
    conn: &mut PgConnection,
    received: &Received,
    topic: &str,
    loan: &str,
    data: Value,
) -> Result<(), HandlerError> {
    let token = received.attributes.get(TOKEN).cloned().unwrap_or_default();
    let event = Event::new(topic, loan, data).with_attribute(TOKEN, token);
    match outbox::insert(conn, SCHEMA, &event).await {
        Ok(_) => Ok(()),
        Err(outbox::Error::Database(error)) => Err(error.into()),
        Err(error @ outbox::Error::Invalid { .. }) => Err(HandlerError::Dead(error.to_string())),
    }
}
