//! What becomes of an event, in the transaction that holds its row of the inbox.

use std::collections::BTreeMap;

use events::{Event, HandlerError, Outcome, Received, outbox};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sqlx::PgConnection;

use super::program::{Behaviour, Operation, Rule};
use super::store::{self, State};
use super::{ALLOCATED, FAILED, REQUESTED, SCHEMA, Shared};

/// Longest id that is taken, in bytes: an answer's key has room for it.
const MAX_ID_BYTES: usize = 100;
/// Attributes of a request that come back with its answer: the token by which it is recognised, and whose it is.
const ECHOED: [&str; 5] = ["completiontoken", "sagaid", "sagastep", "sagaindex", "sagaop"];
/// The reason if every device belongs to an order.
const NO_DEVICE_FREE: &str = "NO_DEVICE_FREE";

/// Data of `device.allocate.requested`. `timestamp` is not looked at.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Requested {
    order_id: String,
    user_id: String,
    #[serde(default)]
    plan_id: String,
}

/// Data of `device.release`. `reason` and `timestamp` are not looked at. An order can be named by its device; a device that
/// the sender never learned of is empty.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Release {
    order_id: String,
    device_id: String,
    user_id: String,
}

/// Applies an event. The same request comes under other ids when it is asked again; the row of the order makes that
/// harmless.
pub(super) async fn apply(shared: &Shared, conn: &mut PgConnection, received: &Received) -> Outcome {
    if received.topic == REQUESTED {
        let asked: Requested = parse(&received.data)?;
        for (name, id, may_be_empty) in [
            ("orderId", &asked.order_id, false),
            ("userId", &asked.user_id, false),
            ("planId", &asked.plan_id, true),
        ] {
            check(name, id, may_be_empty)?;
        }
        let rule = shared.take(Operation::Allocate, &asked.order_id);
        return allocate(conn, received, &asked, &rule).await;
    }
    let asked: Release = parse(&received.data)?;
    for (name, id) in [
        ("orderId", &asked.order_id),
        ("deviceId", &asked.device_id),
        ("userId", &asked.user_id),
    ] {
        check(name, id, true)?;
    }
    release(shared, conn, asked).await
}

fn parse<T: DeserializeOwned>(data: &Value) -> Result<T, HandlerError> {
    T::deserialize(data).map_err(|error| HandlerError::Dead(format!("the data cannot be read: {error}")))
}

fn check(name: &str, id: &str, may_be_empty: bool) -> Outcome {
    let good = (may_be_empty || !id.is_empty()) && id.len() <= MAX_ID_BYTES && !id.contains('\0');
    if good {
        Ok(())
    } else {
        Err(HandlerError::Dead(format!(
            "{name} has to have 1 to {MAX_ID_BYTES} bytes"
        )))
    }
}

async fn allocate(conn: &mut PgConnection, received: &Received, asked: &Requested, rule: &Rule) -> Outcome {
    if rule.behaviour == Behaviour::Ignore {
        return Ok(());
    }
    let order = asked.order_id.as_str();
    let found = store::ask(conn, order, &asked.user_id, &asked.plan_id).await?;
    let is_same = found.user_id == asked.user_id && found.plan_id == asked.plan_id;
    if found.state != State::Released && !is_same {
        return Err(HandlerError::Dead(format!(
            "{order} was asked for before by {:?} for the plan {:?}",
            found.user_id, found.plan_id
        )));
    }
    let allocated = |device: &str| (ALLOCATED, json!({ "orderId": order, "deviceId": device }));
    let failed = |reason: &str, message: &str| {
        let data = json!({ "orderId": order, "reason": reason, "message": message });
        (FAILED, data)
    };
    let (topic, data) = match found.state {
        State::Asked => {
            if let Behaviour::Refuse { reason, message } = &rule.behaviour {
                store::refuse(conn, order, reason, message).await?;
                failed(reason, message)
            } else if let Some(device) = store::take_device(conn, order).await? {
                allocated(&device)
            } else {
                let message = "every device belongs to an order";
                store::refuse(conn, order, NO_DEVICE_FREE, message).await?;
                failed(NO_DEVICE_FREE, message)
            }
        }
        State::Allocated => allocated(found.device_id.as_deref().unwrap_or_default()),
        State::Refused => failed(
            found.reason.as_deref().unwrap_or_default(),
            found.message.as_deref().unwrap_or_default(),
        ),
        // It was given up before it was asked for, or since: nobody waits for an answer.
        State::Released => return Ok(()),
    };
    answer(conn, received, order, rule, topic, &data).await
}

/// Writes the answers that the rule lets leave.
async fn answer(
    conn: &mut PgConnection,
    received: &Received,
    order: &str,
    rule: &Rule,
    topic: &str,
    data: &Value,
) -> Outcome {
    let attributes: BTreeMap<String, String> = ECHOED
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), received.attributes.get(*name)?.clone())))
        .collect();
    for _ in 0..rule.answers() {
        let mut event = Event::new(topic, order, data.clone());
        event.attributes.clone_from(&attributes);
        if rule.delay_ms > 0 {
            // A key of its own: what is held back must not hold back the answer to the next request.
            event.key = format!("{order}/{}", event.id);
        }
        match outbox::insert(conn, SCHEMA, &event).await {
            Ok(_) => {}
            Err(outbox::Error::Database(error)) => return Err(error.into()),
            Err(error @ outbox::Error::Invalid { .. }) => return Err(HandlerError::Dead(error.to_string())),
        }
        if rule.delay_ms > 0 {
            store::postpone(conn, event.id, rule.delay_ms).await?;
        }
    }
    Ok(())
}

async fn release(shared: &Shared, conn: &mut PgConnection, asked: Release) -> Outcome {
    let order = if !asked.order_id.is_empty() {
        asked.order_id
    } else if asked.device_id.is_empty() {
        let problem = "there is neither an orderId nor a deviceId";
        return Err(HandlerError::Dead(problem.to_owned()));
    } else {
        match store::order_of(conn, &asked.device_id).await? {
            Some(order) => order,
            // It is free, or there is no such device.
            None => return Ok(()),
        }
    };
    if shared.take(Operation::Release, &order).behaviour == Behaviour::Ignore {
        return Ok(());
    }
    if store::release_unknown(conn, &order, &asked.user_id).await? {
        return Ok(());
    }
    let found = store::locked(conn, &order).await?;
    if found.state != State::Allocated {
        return Ok(());
    }
    let device = found.device_id.unwrap_or_default();
    let is_its_own = (asked.device_id.is_empty() || asked.device_id == device)
        && (asked.user_id.is_empty() || asked.user_id == found.user_id);
    if !is_its_own {
        return Err(HandlerError::Dead(format!(
            "{order} has {device} and belongs to {:?}; found {:?} and {:?}",
            found.user_id, asked.device_id, asked.user_id
        )));
    }
    store::release(conn, &order, &device).await?;
    Ok(())
}
