//! What comes next in a run, and what becomes of an attempt. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value};

use super::kinds::Outcome;
use super::spec::{Pipeline, Retry, Step};
use super::template;

/// What is recorded of a step that has begun.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Record {
    /// Number of the last attempt, from 1.
    pub attempt: u32,
    /// That attempt has no recorded end: it may be under way, or waiting, or its worker died.
    pub open: bool,
    /// Failures that used up a retry.
    pub failures: u32,
    /// The open attempt waits, as a delay does.
    pub waiting: bool,
    /// Output, once the step succeeded.
    pub output: Option<Value>,
}

/// The attempt to make next.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan<'a> {
    /// The step.
    pub step: &'a Step,
    /// Its position, from 0.
    pub position: usize,
    /// It is the last one; its output is the result.
    pub last: bool,
    /// Number of the attempt, from 1. An open attempt is made again under its number.
    pub attempt: u32,
    /// Failures so far that used up a retry.
    pub failures: u32,
    /// The attempt waited, and its time is over.
    pub waited: bool,
}

/// Finds the first step that has no output yet. `None` if all have one, which a running run never has.
#[must_use]
pub fn next<'a>(pipeline: &'a Pipeline, records: &BTreeMap<String, Record>) -> Option<Plan<'a>> {
    let nothing = Record::default();
    pipeline.steps.iter().enumerate().find_map(|(position, step)| {
        let record = records.get(&step.name).unwrap_or(&nothing);
        record.output.is_none().then(|| Plan {
            step,
            position,
            last: position + 1 == pipeline.steps.len(),
            attempt: if record.open {
                record.attempt
            } else {
                record.attempt.saturating_add(1)
            },
            failures: record.failures,
            waited: record.open && record.waiting,
        })
    })
}

/// Names an attempt towards a provider: `<task>/<step>/<attempt>`.
#[must_use]
pub fn request_id(task_id: &str, step: &str, attempt: u32) -> String {
    format!("{task_id}/{step}/{attempt}")
}

/// What becomes of an attempt.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// The step is done.
    Succeed(Value),
    /// The attempt goes on after this time.
    Sleep(Duration),
    /// The step is tried again after this time.
    Retry {
        /// How long to wait.
        wait: Duration,
        /// Failures that used up a retry, this one included.
        failures: u32,
        /// The attempt has ended; the next call is a new one.
        ended: bool,
        /// Why.
        cause: String,
    },
    /// The step, and with it the pipeline, has failed for good.
    Fail(String),
}

/// Judges the outcome of a planned attempt. `jitter` in 0..1 spreads the retries.
#[must_use]
pub fn judge(plan: &Plan<'_>, outcome: Outcome, retry: &Retry, jitter: f64) -> Verdict {
    match outcome {
        Outcome::Done(output) if plan.last && template::size(&output) > template::MAX_RENDERED_BYTES => {
            Verdict::Fail(format!(
                "the result is larger than {} bytes",
                template::MAX_RENDERED_BYTES
            ))
        }
        Outcome::Done(output) => Verdict::Succeed(output),
        Outcome::Wait(length) => Verdict::Sleep(length),
        Outcome::Failed(cause) => Verdict::Fail(cause),
        Outcome::Again(again) => match again.after {
            Some(wait) => Verdict::Retry {
                wait,
                failures: plan.failures,
                ended: again.ended,
                cause: again.cause,
            },
            None if plan.failures >= retry.retries => Verdict::Fail(format!(
                "{}; gave up after {} calls",
                again.cause,
                plan.failures.saturating_add(1)
            )),
            None => Verdict::Retry {
                wait: retry.wait(plan.failures.saturating_add(1), jitter),
                failures: plan.failures.saturating_add(1),
                ended: again.ended,
                cause: again.cause,
            },
        },
    }
}

/// Makes the result of a task from the output of the last step: an object as it is, anything else as
/// `{"output": ..}`.
#[must_use]
pub fn result(output: Value) -> Value {
    if output.is_object() {
        return output;
    }
    let mut object = Map::new();
    object.insert("output".to_owned(), output);
    Value::Object(object)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::kinds::Again;
    use super::*;

    fn pipeline() -> Pipeline {
        serde_json::from_value(json!({ "steps": [
            { "name": "A", "kind": "transform", "output": 1 },
            { "name": "B", "kind": "transform", "output": 2 },
        ] }))
        .unwrap()
    }

    fn records(of: &[(&str, Record)]) -> BTreeMap<String, Record> {
        of.iter()
            .map(|(name, record)| ((*name).to_owned(), record.clone()))
            .collect()
    }

    fn done() -> Record {
        Record {
            attempt: 1,
            output: Some(json!(1)),
            ..Record::default()
        }
    }

    fn plan(pipeline: &Pipeline, failures: u32) -> Plan<'_> {
        Plan {
            failures,
            ..next(pipeline, &records(&[("A", done())])).unwrap()
        }
    }

    fn again(ended: bool, after: Option<Duration>) -> Outcome {
        Outcome::Again(Again {
            cause: "ai answered 503".to_owned(),
            ended,
            after,
        })
    }

    #[test]
    fn a_run_begins_with_its_first_step() {
        let pipeline = pipeline();
        let plan = next(&pipeline, &records(&[])).unwrap();
        assert_eq!(
            (plan.step.name.as_str(), plan.attempt, plan.last),
            ("A", 1, false)
        );
    }

    #[test]
    fn an_open_attempt_keeps_its_number_and_an_ended_one_does_not() {
        let pipeline = pipeline();
        for (open, attempt) in [(true, 2), (false, 3)] {
            let record = Record {
                attempt: 2,
                open,
                ..Record::default()
            };
            let plan = next(&pipeline, &records(&[("A", done()), ("B", record)])).unwrap();
            assert_eq!(
                (plan.step.name.as_str(), plan.attempt, plan.last),
                ("B", attempt, true)
            );
        }
    }

    #[test]
    fn nothing_follows_the_last_output() {
        assert_eq!(next(&pipeline(), &records(&[("A", done()), ("B", done())])), None);
    }

    #[test]
    fn retries_run_out() {
        let pipeline = pipeline();
        let verdict = |failures| {
            judge(
                &plan(&pipeline, failures),
                again(true, None),
                &Retry::default(),
                1.0,
            )
        };
        assert_eq!(
            verdict(2),
            Verdict::Retry {
                wait: Duration::from_millis(800),
                failures: 3,
                ended: true,
                cause: "ai answered 503".to_owned()
            }
        );
        assert_eq!(
            verdict(3),
            Verdict::Fail("ai answered 503; gave up after 4 calls".to_owned())
        );
    }

    #[test]
    fn a_wait_that_was_asked_for_uses_up_no_retry() {
        let pipeline = pipeline();
        let wait = Duration::from_secs(7);
        let verdict = judge(
            &plan(&pipeline, 3),
            again(true, Some(wait)),
            &Retry::default(),
            1.0,
        );
        assert!(matches!(verdict, Verdict::Retry { wait: w, failures: 3, .. } if w == wait));
    }

    #[test]
    fn a_result_above_its_bound_fails_the_step() {
        let pipeline = pipeline();
        let big = Outcome::Done(json!("x".repeat(70_000)));
        let last = plan(&pipeline, 0);
        assert!(matches!(
            judge(&last, big.clone(), &Retry::default(), 0.0),
            Verdict::Fail(_)
        ));
        let first = Plan { last: false, ..last };
        assert!(matches!(
            judge(&first, big, &Retry::default(), 0.0),
            Verdict::Succeed(_)
        ));
    }

    #[test]
    fn a_result_is_an_object() {
        assert_eq!(result(json!({ "a": 1 })), json!({ "a": 1 }));
        assert_eq!(result(json!("text")), json!({ "output": "text" }));
    }
}
