//! `probe`: the call that finds out what became of an action whose outcome is unknown.

use super::call::Defaults;
use super::{Checker, Site};
use crate::call::{Barrier, Call, Target};
use crate::problem::{Position, Problem, ProblemKind};
use crate::source::{CallSource, RetryPatch};

impl Checker<'_> {
    /// `action` is the step's action where that is right.
    pub(super) fn probe(
        &mut self,
        source: &CallSource,
        action: Option<&Call>,
        site: Site<'_>,
        defaults: Defaults,
    ) -> Option<Call> {
        self.repeated_as_the_action(source, site);
        if let Some((at, field)) = asks_otherwise(source) {
            let message = "a probe calls a method and takes its answer at once";
            self.report_at(
                site,
                field,
                Problem::new(ProblemKind::ConflictingKeys, at, message),
            );
            return None;
        }
        let found = self.find(source, site);
        let plain = CallSource {
            retry: RetryPatch::default(),
            timeout: None,
            ..source.clone()
        };
        let probe = self.call(&plain, found.as_ref(), site, defaults)?;
        let at = source.method.given().map_or(source.at, |text| text.at);
        let natural = match &probe.target {
            Target::Method { barrier, .. } => matches!(barrier, Barrier::Natural | Barrier::Acknowledged),
            Target::Publish { .. } => false,
        };
        if !natural {
            let message = format!("{} may change something; a probe only looks", probe.name());
            let problem = Problem::new(ProblemKind::ProbeNotNatural, at, message)
                .expected("a method whose barrier is BARRIER_NATURAL");
            self.report_at(site, "call", problem);
        }
        let action = action?;
        let (expected, found) = (action.reply_type(), probe.reply_type());
        if expected != found {
            let message = "a probe answers for the action, so it has the same reply";
            let problem = Problem::new(ProblemKind::TypeMismatch, at, message)
                .expected(expected.full_name())
                .found(found.full_name());
            self.report_at(site, "call", problem);
        }
        (natural && expected == found).then_some(Call {
            retry: action.retry,
            timeout_ms: action.timeout_ms,
            ..probe
        })
    }

    fn repeated_as_the_action(&mut self, source: &CallSource, site: Site<'_>) {
        let retry = &source.retry;
        let given = [
            retry.retries.as_ref().map(|n| (n.at, "retry.retries")),
            retry.initial.as_ref().map(|n| (n.at, "retry.initial")),
            retry.factor.as_ref().map(|n| (n.at, "retry.factor")),
            retry.max.as_ref().map(|n| (n.at, "retry.max")),
            source.timeout.as_ref().map(|n| (n.at, "timeout")),
        ];
        for (at, field) in given.into_iter().flatten() {
            let message =
                "a probe takes the place of an attempt of its action, with the action's retries and timeout";
            self.report_at(
                site,
                field,
                Problem::new(ProblemKind::ConflictingKeys, at, message),
            );
        }
    }
}

fn asks_otherwise(source: &CallSource) -> Option<(Position, &'static str)> {
    let publish = source.publish.given().map(|key| (key.at, "publish"));
    publish.or(source.awaits.given().map(|awaits| (awaits.at, "await")))
}
