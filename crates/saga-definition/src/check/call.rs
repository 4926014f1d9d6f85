//! Calls: what is called, what makes it safe to repeat, and its settings.

use prost::Message as _;
use prost_reflect::MethodDescriptor;

use super::target::{Found, To};
use super::{Checker, Place, Site};
use crate::call::{Barrier, Call, Retry, Target};
use crate::problem::{Problem, ProblemKind};
use crate::scalar::format_duration;
use crate::source::{CallSource, RetryPatch};
use crate::yaml::Spanned;

const MAX_RETRIES: u32 = 100;
const MAX_PAUSE_MS: u64 = 3_600_000;
const MAX_TIMEOUT_MS: u64 = 600_000;
const FACTOR: std::ops::RangeInclusive<f64> = 1.0..=10.0;

/// Settings a call takes where it has none of its own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Defaults {
    pub(super) retries: u32,
    pub(super) retry: Retry,
    pub(super) timeout_ms: u64,
}

impl Defaults {
    /// What holds where the saga says nothing.
    pub(super) const LANGUAGE: Self = Self {
        retries: 3,
        retry: Retry {
            retries: None,
            initial_ms: 200,
            factor_milli: 2_000,
            max_ms: 10_000,
        },
        timeout_ms: 10_000,
    };
}

impl Checker<'_> {
    /// Checks everything about one call but what it goes to, which was found before.
    pub(super) fn call(
        &mut self,
        source: &CallSource,
        found: Option<&Found>,
        site: Site<'_>,
        defaults: Defaults,
    ) -> Option<Call> {
        let limited = site.place.is_limited();
        if let (false, Some(retries)) = (limited, &source.retry.retries) {
            let message = "this operation is repeated until it succeeds; only actions before the commit point are limited";
            self.report_at(
                site,
                "retry.retries",
                Problem::new(ProblemKind::RetriesNotAllowed, retries.at, message),
            );
        }
        let settings = self.settings(&source.retry, source.timeout.as_ref(), site, defaults);
        if let Some(ack) = &source.unsafe_ack {
            self.explained(ack, site, "unsafe_ack");
        }
        let found = found?;
        let with = self.mapping(&found.request, &source.with, site, &site.field("with"), 0);
        let target = match &found.to {
            To::Method(method) => self.method_target(method, source, site),
            To::Publish(routing_key) => Some(Target::Publish {
                routing_key: routing_key.clone(),
            }),
        };
        Some(Call {
            target: target?,
            reply: found.reply.clone(),
            awaits: found.awaits.clone(),
            with: with?,
            retry: Retry {
                retries: limited.then_some(settings.retries),
                ..settings.retry
            },
            timeout_ms: settings.timeout_ms,
        })
    }

    fn method_target(
        &mut self,
        method: &MethodDescriptor,
        source: &CallSource,
        site: Site<'_>,
    ) -> Option<Target> {
        let service = method.parent_service().full_name().to_owned();
        let barrier = self.barrier(method, source, site)?;
        Some(Target::Method {
            path: format!("/{service}/{}", method.name()),
            participant: self.participants.resolve(&service)?.to_owned(),
            barrier,
            unsafe_ack: source.unsafe_ack.as_ref().map(|ack| ack.value.clone()),
            method: method.clone(),
        })
    }

    fn barrier(&mut self, method: &MethodDescriptor, source: &CallSource, site: Site<'_>) -> Option<Barrier> {
        let barrier =
            declared_barrier(method).or_else(|| source.unsafe_ack.as_ref().map(|_| Barrier::Acknowledged));
        if barrier.is_none() {
            let at = source.method.given().map_or(source.at, |text| text.at);
            let message = format!("{} does not say what makes it safe to repeat", method.full_name());
            let problem = Problem::new(ProblemKind::MissingStepOption, at, message)
                .expected("option (evenkeel.saga.v1.step) with a barrier, or `unsafe_ack: \"<why>\"`");
            self.report_at(site, "call", problem);
        }
        barrier
    }

    pub(super) fn settings(
        &mut self,
        patch: &RetryPatch,
        timeout: Option<&Spanned<u64>>,
        site: Site<'_>,
        defaults: Defaults,
    ) -> Defaults {
        let mut settings = defaults;
        if let Some(timeout) = timeout
            && self.in_range(
                timeout,
                1..=MAX_TIMEOUT_MS,
                site,
                "timeout",
                ProblemKind::DurationOutOfRange,
            )
        {
            settings.timeout_ms = timeout.value;
        }
        if let Some(retries) = &patch.retries {
            match u32::try_from(retries.value) {
                Ok(n) if n <= MAX_RETRIES => settings.retries = n,
                Ok(_) | Err(_) => {
                    let problem =
                        Problem::new(ProblemKind::BadRetry, retries.at, "too many or too few retries")
                            .expected(format!("0 to {MAX_RETRIES}"))
                            .found(retries.value.to_string());
                    self.report_at(site, "retry.retries", problem);
                }
            }
        }
        for (pause, field, target) in [
            (&patch.initial, "retry.initial", &mut settings.retry.initial_ms),
            (&patch.max, "retry.max", &mut settings.retry.max_ms),
        ] {
            if let Some(pause) = pause
                && self.in_range(pause, 1..=MAX_PAUSE_MS, site, field, ProblemKind::BadRetry)
            {
                *target = pause.value;
            }
        }
        if let Some(factor) = &patch.factor {
            if FACTOR.contains(&factor.value) {
                settings.retry.factor_milli = thousandths(factor.value);
            } else {
                let problem = Problem::new(ProblemKind::BadRetry, factor.at, "the factor is out of range")
                    .expected("1 to 10")
                    .found(factor.value.to_string());
                self.report_at(site, "retry.factor", problem);
            }
        }
        if settings.retry.initial_ms > settings.retry.max_ms {
            let problem = Problem::new(
                ProblemKind::BadRetry,
                patch.at,
                "the first pause is longer than the longest",
            )
            .expected(format!(
                "initial at most {}",
                format_duration(settings.retry.max_ms)
            ))
            .found(format_duration(settings.retry.initial_ms));
            self.report_at(site, "retry", problem);
            settings.retry = defaults.retry;
        }
        settings
    }

    pub(super) fn in_range(
        &mut self,
        duration: &Spanned<u64>,
        range: std::ops::RangeInclusive<u64>,
        site: Site<'_>,
        field: &str,
        kind: ProblemKind,
    ) -> bool {
        if range.contains(&duration.value) {
            return true;
        }
        let problem = Problem::new(kind, duration.at, "the duration is out of range")
            .expected(format!(
                "{} to {}",
                format_duration(*range.start()),
                format_duration(*range.end())
            ))
            .found(format_duration(duration.value));
        self.report_at(site, field, problem);
        false
    }

    /// An explanation has to say something.
    pub(super) fn explained(&mut self, why: &Spanned<String>, site: Site<'_>, field: &str) {
        if why.value.trim().is_empty() {
            let problem = Problem::new(
                ProblemKind::EmptyReason,
                why.at,
                format!("`{field}` must say why"),
            );
            self.report_at(site, field, problem);
        }
    }
}

impl Place {
    /// Only actions before the commit point give up after `retries`.
    fn is_limited(self) -> bool {
        match self {
            Self::Action { compensatable, .. } => compensatable,
            Self::Saga | Self::Compensation(_) | Self::AfterCompensation => false,
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "1.0..=10.0 was checked"
)]
fn thousandths(factor: f64) -> u32 {
    (factor * 1_000.0).round() as u32
}

/// The parts of a `FileDescriptorProto` that lead to the step option.
mod wire {
    #[derive(prost::Message)]
    pub(super) struct File {
        #[prost(message, repeated, tag = "6")]
        pub(super) service: Vec<Service>,
    }

    #[derive(prost::Message)]
    pub(super) struct Service {
        #[prost(message, repeated, tag = "2")]
        pub(super) method: Vec<Method>,
    }

    #[derive(prost::Message)]
    pub(super) struct Method {
        #[prost(message, optional, tag = "4")]
        pub(super) options: Option<Options>,
    }

    #[derive(prost::Message)]
    pub(super) struct Options {
        #[prost(message, optional, tag = "50901")]
        pub(super) step: Option<Step>,
    }

    #[derive(prost::Message)]
    pub(super) struct Step {
        #[prost(int32, tag = "1")]
        pub(super) barrier: i32,
    }
}

/// Returns what a method's option `(evenkeel.saga.v1.step)` says makes it safe to repeat; `None` if it has none.
///
/// Read from the encoded file: the closure of a stored definition keeps the option but not the declaration of the
/// extension, and damaged options must not panic.
#[must_use]
pub fn declared_barrier(method: &MethodDescriptor) -> Option<Barrier> {
    let declared = method
        .parent_pool()
        .get_message_by_name("google.protobuf.MethodOptions")
        .and_then(|options| options.get_extension(crate::STEP_OPTION_NUMBER));
    if declared.is_some_and(|extension| extension.full_name() != crate::STEP_OPTION_NAME) {
        return None;
    }
    let file = wire::File::decode(method.parent_file().encode_to_vec().as_slice()).ok()?;
    let [6, service, 2, index] = *method.path() else {
        return None;
    };
    let service = file.service.get(usize::try_from(service).ok()?)?;
    let option = service
        .method
        .get(usize::try_from(index).ok()?)?
        .options
        .as_ref()?
        .step
        .as_ref()?;
    match option.barrier {
        1 => Some(Barrier::Transactional),
        2 => Some(Barrier::External),
        3 => Some(Barrier::Natural),
        _ => None,
    }
}
