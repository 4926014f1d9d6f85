//! What doubles have done: a barrier in memory, without I/O.

use std::collections::BTreeMap;

use ids::SagaId;
use prost_reflect::DynamicMessage;
use rpc::step::{Op, StepCall};

/// A step of a saga.
type Key = (SagaId, String, u32);

/// How a method answers the first call of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// With the reply.
    AtOnce,
    /// With "not yet", and with the reply when it is called again.
    Later,
}

/// What a call is answered.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Said {
    Reply(DynamicMessage),
    Later,
    Superseded,
    Mismatch,
    NotSeen,
}

#[derive(Debug, Clone, PartialEq)]
enum State {
    Pending,
    Succeeded(DynamicMessage),
    Superseded,
}

#[derive(Debug, Clone)]
struct Row {
    /// Absent where a compensation took the place of an action that never came.
    request: Option<DynamicMessage>,
    state: State,
}

#[derive(Debug, Clone, Default)]
struct Step {
    action: Option<Row>,
    compensation: Option<Row>,
    /// Number of the action, and of its undoing, among everything that was done.
    done: Option<u64>,
    undone: Option<u64>,
}

/// What one step of a saga came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effect {
    /// When the action was done, as a number that rises; absent if it was not.
    pub done: Option<u64>,
    /// When it was undone.
    pub undone: Option<u64>,
}

/// The rows of all sagas.
#[derive(Debug, Default)]
pub(super) struct Books {
    steps: BTreeMap<Key, Step>,
    clock: u64,
}

impl Books {
    /// Answers a call, as `barrier::decide` would.
    pub(super) fn call(
        &mut self,
        call: &StepCall,
        request: &DynamicMessage,
        manner: Manner,
        reply: impl FnOnce() -> DynamicMessage,
        empty: impl FnOnce() -> DynamicMessage,
    ) -> Said {
        self.clock += 1;
        let now = self.clock;
        let key = (call.saga_id, call.step.clone(), call.index);
        let step = self.steps.entry(key).or_default();
        match call.op {
            Op::Action => step.act(request, manner, now, reply),
            Op::Compensation => step.compensate(request, manner, now, reply, empty),
        }
    }

    /// Answers a probe: what became of the action.
    pub(super) fn look(&self, call: &StepCall) -> Said {
        let key = (call.saga_id, call.step.clone(), call.index);
        let row = self.steps.get(&key).and_then(|step| step.action.as_ref());
        match row.map(|row| &row.state) {
            Some(State::Succeeded(reply)) => Said::Reply(reply.clone()),
            Some(State::Pending) => Said::Later,
            Some(State::Superseded) => Said::Superseded,
            None => Said::NotSeen,
        }
    }

    /// What the steps of a saga came to, by name.
    pub(super) fn effects(&self, saga: SagaId) -> BTreeMap<String, Effect> {
        let first = (saga, String::new(), 0);
        self.steps
            .range(first..)
            .take_while(|((of, _, _), _)| *of == saga)
            .map(|((_, name, _), step)| {
                let effect = Effect {
                    done: step.done,
                    undone: step.undone,
                };
                (name.clone(), effect)
            })
            .collect()
    }
}

impl Step {
    fn act(
        &mut self,
        request: &DynamicMessage,
        manner: Manner,
        now: u64,
        reply: impl FnOnce() -> DynamicMessage,
    ) -> Said {
        let Some(row) = &mut self.action else {
            self.done = Some(now);
            let state = begun(manner, reply);
            let said = say(&state);
            self.action = Some(Row {
                request: Some(request.clone()),
                state,
            });
            return said;
        };
        again(row, request, reply)
    }

    fn compensate(
        &mut self,
        request: &DynamicMessage,
        manner: Manner,
        now: u64,
        reply: impl FnOnce() -> DynamicMessage,
        empty: impl FnOnce() -> DynamicMessage,
    ) -> Said {
        if let Some(row) = &mut self.compensation {
            return again(row, request, reply);
        }
        let action = self.action.get_or_insert(Row {
            request: None,
            state: State::Superseded,
        });
        let state = match action.state {
            State::Superseded => State::Succeeded(empty()),
            State::Pending => {
                action.state = State::Superseded;
                self.undone = Some(now);
                begun(manner, reply)
            }
            State::Succeeded(_) => {
                self.undone = Some(now);
                begun(manner, reply)
            }
        };
        let said = say(&state);
        self.compensation = Some(Row {
            request: Some(request.clone()),
            state,
        });
        said
    }
}

fn begun(manner: Manner, reply: impl FnOnce() -> DynamicMessage) -> State {
    match manner {
        Manner::AtOnce => State::Succeeded(reply()),
        Manner::Later => State::Pending,
    }
}

fn say(state: &State) -> Said {
    match state {
        State::Pending => Said::Later,
        State::Succeeded(reply) => Said::Reply(reply.clone()),
        State::Superseded => Said::Superseded,
    }
}

fn again(row: &mut Row, request: &DynamicMessage, reply: impl FnOnce() -> DynamicMessage) -> Said {
    if row.state == State::Superseded {
        return Said::Superseded;
    }
    if row.request.as_ref().is_some_and(|first| first != request) {
        return Said::Mismatch;
    }
    if row.state == State::Pending {
        row.state = State::Succeeded(reply());
    }
    say(&row.state)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> DynamicMessage {
        let pool = proto::descriptor_pool();
        let mut message = DynamicMessage::new(
            pool.get_message_by_name("evenkeel.bench.v1.WorkResponse")
                .unwrap(),
        );
        message.set_field_by_name("payload", prost_reflect::Value::String(text.to_owned()));
        message
    }

    fn call(saga: SagaId, op: Op) -> StepCall {
        StepCall {
            saga_id: saga,
            step: "A".to_owned(),
            index: 0,
            op,
            attempt: 1,
            epoch: 1,
            refusable: true,
        }
    }

    fn say(books: &mut Books, saga: SagaId, op: Op, manner: Manner) -> Said {
        let reply = || message("reply");
        books.call(&call(saga, op), &message("request"), manner, reply, || {
            message("")
        })
    }

    #[test]
    fn a_pending_operation_ends_when_it_is_called_again() {
        let (mut books, saga) = (Books::default(), SagaId::new());
        assert_eq!(say(&mut books, saga, Op::Action, Manner::Later), Said::Later);
        assert_eq!(books.look(&call(saga, Op::Action)), Said::Later);
        let reply = Said::Reply(message("reply"));
        assert_eq!(say(&mut books, saga, Op::Action, Manner::Later), reply);
        assert_eq!(books.effects(saga)["A"].done, Some(1));
    }

    #[test]
    fn a_late_action_is_superseded_and_has_no_effect() {
        let (mut books, saga) = (Books::default(), SagaId::new());
        let empty = Said::Reply(message(""));
        assert_eq!(say(&mut books, saga, Op::Compensation, Manner::AtOnce), empty);
        assert_eq!(
            say(&mut books, saga, Op::Action, Manner::AtOnce),
            Said::Superseded
        );
        let nothing = Effect {
            done: None,
            undone: None,
        };
        assert_eq!(books.effects(saga)["A"], nothing);
        assert_eq!(books.effects(SagaId::new()), BTreeMap::new());
    }

    #[test]
    fn another_request_is_a_mismatch_and_a_probe_only_looks() {
        let (mut books, saga) = (Books::default(), SagaId::new());
        assert_eq!(books.look(&call(saga, Op::Action)), Said::NotSeen);
        say(&mut books, saga, Op::Action, Manner::AtOnce);
        let other = message("other");
        let said = books.call(
            &call(saga, Op::Action),
            &other,
            Manner::AtOnce,
            || message("x"),
            || message(""),
        );
        assert_eq!(said, Said::Mismatch);
        assert_eq!(books.look(&call(saga, Op::Action)), Said::Reply(message("reply")));
    }
}
