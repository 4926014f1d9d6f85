//! What all checks need: sagas of their own, calls until the answer is final, and the count.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ids::SagaId;
use prost_reflect::{DynamicMessage, MethodDescriptor};
use rpc::step::Op;

use super::template::changed;
use super::wire::{self, Answer, Key};
use super::{Count, Operation, Stop, Subject, Template};

const STEP: &str = "CHECKED";
/// Pause between two looks at the count.
const POLL: Duration = Duration::from_millis(50);
/// A count that is not as expected after this time is not going to be.
const SETTLING: Duration = Duration::from_secs(2);

/// One operation of a saga of its own: its key and its requests.
#[derive(Debug, Clone)]
pub(super) struct Case {
    pub(super) key: Key,
    pub(super) action: DynamicMessage,
    number: u64,
}

impl Case {
    pub(super) fn at(&self, step: &'static str, index: u32) -> Self {
        let mut case = self.clone();
        case.key.step = step;
        case.key.index = index;
        case
    }
}

#[derive(Debug)]
pub(super) struct Stage<'a> {
    pub(super) subject: &'a Subject,
    /// The number of the next case.
    next: u64,
    /// What one effect changes the count by, once an action has shown it.
    pub(super) one: Option<i64>,
    /// Headers of all answers that were not final.
    pub(super) pending: Vec<String>,
}

impl<'a> Stage<'a> {
    pub(super) fn new(subject: &'a Subject) -> Self {
        // New after a restart of this process, too, and small enough for every kind of number but 32 bits.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            subject,
            next: u64::try_from(now.as_millis()).unwrap_or(0).wrapping_mul(1_000),
            one: None,
            pending: Vec::new(),
        }
    }

    /// A saga that the participant has never seen.
    pub(super) fn case(&mut self) -> Result<Case, Stop> {
        self.case_of(&self.subject.action.request)
    }

    /// The same with another request of the action.
    pub(super) fn case_of(&mut self, request: &Template) -> Result<Case, Stop> {
        let number = self.next;
        self.next += 1;
        Ok(Case {
            key: Key {
                saga: SagaId::new(),
                step: STEP,
                index: 0,
                refusable: true,
            },
            action: request.read(number).map_err(Stop::Untried)?,
            number,
        })
    }

    /// The same operation with another request; `None` if none can be made.
    pub(super) fn other(&self, case: &Case) -> Result<Option<Case>, Stop> {
        let action = match &self.subject.other {
            Some(other) => Some(other.read(case.number).map_err(Stop::Untried)?),
            None => changed(&case.action),
        };
        Ok(action.map(|action| Case {
            action,
            ..case.clone()
        }))
    }

    /// Calls the action until its answer is final.
    pub(super) async fn act(&mut self, case: &Case) -> Answer {
        let method = self.subject.action.method.clone();
        self.until_final(&method, (case.key, Op::Action), &case.action.clone())
            .await
    }

    /// The same; anything but a reply breaks the check.
    pub(super) async fn done(&mut self, case: &Case) -> Result<DynamicMessage, Stop> {
        let broken = |answer| Stop::Broken(format!("the action was answered {answer}"));
        self.act(case).await.reply().map_err(broken)
    }

    /// Calls the compensation until its answer is final.
    pub(super) async fn compensate(&mut self, case: &Case) -> Result<Answer, Stop> {
        let Operation { method, request } = self.compensation()?.clone();
        let message = request.read(case.number).map_err(Stop::Untried)?;
        let key = Key {
            refusable: false,
            ..case.key
        };
        Ok(self.until_final(&method, (key, Op::Compensation), &message).await)
    }

    /// The same; anything but a reply breaks the check.
    pub(super) async fn undone(&mut self, case: &Case) -> Result<DynamicMessage, Stop> {
        let broken = |answer| Stop::Broken(format!("the compensation was answered {answer}"));
        self.compensate(case).await?.reply().map_err(broken)
    }

    /// Undoes what a check has done, if anything can. It has been judged already.
    pub(super) async fn clean_up(&mut self, case: &Case) {
        if self.subject.compensation.is_some() {
            let _ = self.compensate(case).await;
        }
    }

    pub(super) fn compensation(&self) -> Result<&'a Operation, Stop> {
        let none = || Stop::Untried("no compensation was named".to_owned());
        self.subject.compensation.as_ref().ok_or_else(none)
    }

    /// Makes so many attempts of the action at once.
    pub(super) async fn at_once(&self, case: &Case, count: usize) -> Vec<Answer> {
        let subject = self.subject;
        let attempts = (0..count).map(|_| {
            wire::attempt(
                &subject.line,
                &subject.action.method,
                (case.key, Op::Action),
                case.action.clone(),
                &subject.error_domain,
                subject.patience,
            )
        });
        futures::future::join_all(attempts).await
    }

    async fn until_final(
        &mut self,
        method: &MethodDescriptor,
        operation: (Key, Op),
        message: &DynamicMessage,
    ) -> Answer {
        let subject = self.subject;
        let (answer, pending) = wire::until_final(
            &subject.line,
            method,
            operation,
            message,
            &subject.error_domain,
            subject.patience,
        )
        .await;
        self.pending.extend(pending);
        answer
    }

    /// Reads the count; 0 if there is none, which [`effects`](Self::effects) then does not look at.
    pub(super) async fn count(&self) -> Result<i64, Stop> {
        match &self.subject.count {
            None => Ok(0),
            Some(count) => self.read(count).await,
        }
    }

    async fn read(&self, count: &Count) -> Result<i64, Stop> {
        let read = count.read(&self.subject.line, self.subject.patience).await;
        read.map_err(Stop::Broken)
    }

    /// Checks that since the count was `before` so many effects were added. Says what was seen, for the report.
    pub(super) async fn effects(&self, before: i64, wanted: i64) -> Result<&'static str, Stop> {
        let (Some(count), Some(one)) = (&self.subject.count, self.one) else {
            return Ok("");
        };
        let begun = Instant::now();
        loop {
            let now = self.read(count).await?;
            let change = now - before;
            if change == wanted * one {
                return Ok(match wanted {
                    0 => ", no effect",
                    _ => ", one effect each",
                });
            }
            if begun.elapsed() > SETTLING {
                return Err(Stop::Broken(format!(
                    "the count went from {before} to {now}; {} was expected, as one action changes it by {one}",
                    before + wanted * one
                )));
            }
            tokio::time::sleep(POLL).await;
        }
    }
}
