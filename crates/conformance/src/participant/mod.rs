//! Does a participant keep the rules of `docs/sagas.md`?
//!
//! [`check`] plays the orchestrator: it calls one action and its compensation with the metadata of DESIGN 4.4 and sagas of its
//! own. The effects are real; what was done is undone where there is a compensation. With a [`Count`] the effects are
//! observed, not only the replies: the first action shows what one effect changes the number by, and everything after is
//! measured by that. Nobody else may change the number meanwhile.

mod checks;
mod claim;
mod count;
mod stage;
mod template;
mod wire;

use std::time::Duration;

use prost_reflect::MethodDescriptor;

pub use count::{Count, CountMethod};
pub use template::{PLACEHOLDER, Template};
pub use wire::Line;

use crate::Verdict;
use stage::Stage;

/// What is checked.
#[derive(Debug, Clone)]
pub struct Subject {
    /// Where it answers.
    pub line: Line,
    /// Domain of its refusals.
    pub error_domain: String,
    /// A step's action, with a request that succeeds.
    pub action: Operation,
    /// What undoes it; absent if nothing does.
    pub compensation: Option<Operation>,
    /// Another request of the action, which is not refused either; made from the first if absent.
    pub other: Option<Template>,
    /// A request of the action that is refused.
    pub refused: Option<Template>,
    /// Where effects are seen; only replies are compared otherwise.
    pub count: Option<Count>,
    /// A shell command that restarts the participant.
    pub restart: Option<String>,
    /// Bound of each answer's becoming final, of the count, and of the restart.
    pub patience: Duration,
}

/// A method and what it is called with.
#[derive(Clone)]
pub struct Operation {
    /// The method.
    pub method: MethodDescriptor,
    /// Its request.
    pub request: Template,
}

// A descriptor shows all that it refers to.
impl std::fmt::Debug for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Operation")
            .field("method", &self.method.full_name())
            .field("request", &self.request)
            .finish()
    }
}

/// What one check saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The claim that was tried.
    pub check: &'static str,
    /// Whether it holds.
    pub verdict: Verdict,
    /// What was seen.
    pub saw: String,
    /// What to do about it; empty unless it failed.
    pub next: &'static str,
}

/// Why a check did not pass.
#[derive(Debug)]
enum Stop {
    /// It does not hold.
    Broken(String),
    /// It was not tried.
    Untried(String),
}

type Found = Result<String, Stop>;

/// Runs every check, and tells each as it ends. If the very first action does not succeed, nothing else is tried.
pub async fn check(subject: &Subject, mut tell: impl FnMut(&Row)) -> Vec<Row> {
    let mut stage = Stage::new(subject);
    let mut rows: Vec<Row> = Vec::new();
    for claim in claim::ALL {
        let dead = rows.first().is_some_and(|row| row.verdict == Verdict::Fail);
        let found = if dead {
            Err(Stop::Untried("the first action did not succeed".to_owned()))
        } else {
            claim.run(&mut stage).await
        };
        let (verdict, saw) = match found {
            Ok(saw) => (Verdict::Pass, saw),
            Err(Stop::Untried(why)) => (Verdict::Skip, why),
            Err(Stop::Broken(saw)) => (Verdict::Fail, saw),
        };
        let row = Row {
            check: claim.name(),
            verdict,
            saw,
            next: if verdict == Verdict::Fail {
                claim.advice()
            } else {
                ""
            },
        };
        tell(&row);
        rows.push(row);
    }
    rows
}
