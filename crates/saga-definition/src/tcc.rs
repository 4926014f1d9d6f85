//! Try, confirm, cancel: written as such, run as ordinary steps.
//!
//! A try is a compensatable step whose compensation is its cancel. The decision, where there is one, is the pivot behind
//! all tries. A confirm is a retriable step of its own behind the commit point. So confirms and cancels have no "no".

use crate::scalar::is_name;
use crate::source::{CallSource, Expr, Slot, StepSource, Time};
use crate::yaml::Spanned;

/// Put behind a try's name to name its confirm.
const CONFIRM: &str = "_CONFIRM";

#[derive(Clone, Debug)]
pub(crate) struct TrySource {
    pub(crate) name: Slot<String>,
    pub(crate) at: crate::problem::Position,
    pub(crate) call: CallSource,
    /// Absent only where that was reported.
    pub(crate) confirm: Option<CallSource>,
    /// Absent only where that was reported.
    pub(crate) cancel: Option<CallSource>,
    pub(crate) when: Option<Expr>,
    pub(crate) after: Option<Spanned<Vec<Spanned<String>>>>,
    pub(crate) probe: Option<CallSource>,
    pub(crate) expires: Option<Spanned<Time>>,
}

/// Writes tries and their decision as steps: the tries in their order, the decision, the confirms.
pub(crate) fn steps(tries: Vec<TrySource>, decide: Option<StepSource>) -> Vec<StepSource> {
    let mut steps = Vec::with_capacity(tries.len() * 2 + 1);
    let mut confirms = Vec::with_capacity(tries.len());
    let mut names: Vec<Spanned<String>> = Vec::with_capacity(tries.len());
    for tried in tries {
        let name = tried.name.given().cloned();
        let repeated = names
            .iter()
            .any(|known| Some(&known.value) == name.as_ref().map(|n| &n.value));
        if let Some(call) = tried.confirm {
            let name = name.clone().filter(|name| !repeated && is_name(&name.value));
            confirms.push(StepSource {
                // A wrong name of the try was reported; the confirm's would be wrong for the same reason.
                name: name.map_or(Slot::Invalid, |name| {
                    Slot::Given(Spanned {
                        value: name.value + CONFIRM,
                        ..name
                    })
                }),
                // What was not tried is not confirmed.
                when: tried.when.clone(),
                retriable: Some(Spanned {
                    at: call.at,
                    value: true,
                }),
                ..StepSource::new(call.at, call)
            });
        }
        names.extend(name);
        steps.push(StepSource {
            name: tried.name,
            undo_invalid: tried.cancel.is_none(),
            compensate: tried.cancel,
            when: tried.when,
            after: tried.after,
            probe: tried.probe,
            expires: tried.expires,
            ..StepSource::new(tried.at, tried.call)
        });
    }
    let behind = match decide {
        None => names,
        Some(decide) => {
            let name = decide.name.given().cloned();
            let at = decide.at;
            steps.push(StepSource {
                pivot: Some(Spanned { at, value: true }),
                after: Some(Spanned { at, value: names }),
                ..decide
            });
            name.into_iter().collect()
        }
    };
    steps.extend(confirms.into_iter().map(|confirm| StepSource {
        after: Some(Spanned {
            at: confirm.at,
            value: behind.clone(),
        }),
        ..confirm
    }));
    steps
}
