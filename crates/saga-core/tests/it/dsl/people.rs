//! What operators do, and those who hold completion tokens.

use saga_core::{Command, Completion, Input, Payload, Rejected};

use super::{Saga, error};

impl Saga {
    /// An answer comes by token.
    pub(crate) fn try_complete(&mut self, name: &str, result: Completion) -> Result<(), Rejected> {
        let key = self.key(name);
        self.try_handle(Input::Completed { key, result })
    }

    pub(crate) fn complete(mut self, name: &str) -> Self {
        let reply = Payload::new(format!("\"{name} by token\""));
        self.try_complete(name, Completion::Succeeded(reply)).unwrap();
        self
    }

    pub(crate) fn complete_failed(mut self, name: &str) -> Self {
        let failed = Completion::Failed(error("no, by token"));
        self.try_complete(name, failed).unwrap();
        self
    }

    pub(crate) fn try_operate(&mut self, command: Command) -> Result<(), Rejected> {
        self.try_handle(Input::Operator {
            actor: "bob".into(),
            note: "because".into(),
            evidence: "seen it".into(),
            command,
        })
    }

    pub(crate) fn operate(mut self, command: Command) -> Self {
        self.try_operate(command).unwrap();
        self
    }

    pub(crate) fn retry_now(self, name: &str) -> Self {
        let key = self.key(name);
        self.operate(Command::RetryNow(Some(key)))
    }

    pub(crate) fn resolve_succeeded(self, name: &str) -> Self {
        let key = self.key(name);
        let reply = Payload::new(format!("\"{name} by hand\""));
        self.operate(Command::ResolveSucceeded(key, reply))
    }

    pub(crate) fn resolve_failed(self, name: &str) -> Self {
        let key = self.key(name);
        self.operate(Command::ResolveFailed(key))
    }

    pub(crate) fn skip(self, name: &str) -> Self {
        let key = self.key(name);
        self.operate(Command::Skip(key))
    }

    pub(crate) fn pause(self) -> Self {
        self.operate(Command::Pause)
    }

    pub(crate) fn resume(self) -> Self {
        self.operate(Command::Resume)
    }

    pub(crate) fn acknowledge(self) -> Self {
        self.operate(Command::Acknowledge)
    }

    /// What operators may do, for example `skip ~A`.
    pub(crate) fn allowed(&self) -> Vec<String> {
        let allowed = self.state.allowed(&self.plan);
        let text = |a: &saga_core::Allowed| match a.key {
            Some(key) => format!("{} {}", a.action.name(), self.name(key)),
            None => a.action.name().to_owned(),
        };
        allowed.iter().map(text).collect()
    }

    #[track_caller]
    pub(crate) fn expect_allowed(self, expected: &[&str]) -> Self {
        assert_eq!(self.allowed(), expected);
        self
    }
}
