//! What a call goes to: a method of a participant, or a routing key.

use prost_reflect::{DescriptorPool, MessageDescriptor, MethodDescriptor, ServiceDescriptor};

use super::{Checker, Site};
use crate::call::Await;
use crate::problem::{Problem, ProblemKind};
use crate::scalar::{is_identifier, is_routing_key};
use crate::source::{AwaitSource, CallSource, Slot};
use crate::suggest::did_you_mean;
use crate::yaml::{Spanned, shorten};

/// Pause after which an unanswered request is published again, where the definition does not say.
const ASK_AGAIN_MS: u64 = 30_000;
const MIN_ASK_AGAIN_MS: u64 = 1_000;
const MAX_ASK_AGAIN_MS: u64 = 3_600_000;
/// Facts about sagas are published under these keys; a definition must not forge them.
const OWN_KEYS: &str = "saga.";

/// What a call goes to, with the types of its request and reply.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) to: To,
    pub(super) request: MessageDescriptor,
    pub(super) reply: MessageDescriptor,
    pub(super) awaits: Option<Await>,
}

#[derive(Debug)]
pub(super) enum To {
    Method(MethodDescriptor),
    Publish(String),
}

impl Found {
    /// Tells whether nobody is heard of after the request.
    pub(super) fn is_silent(&self) -> bool {
        matches!(self.to, To::Publish(_)) && self.awaits.is_none()
    }
}

impl Checker<'_> {
    /// Looks up what a call names.
    pub(super) fn find(&mut self, source: &CallSource, site: Site<'_>) -> Option<Found> {
        let publish = match &source.publish {
            Slot::Given(key) => key,
            Slot::Invalid => return None,
            Slot::Absent => return self.found_method(source, site),
        };
        if source.method.given().is_some() {
            let message = "something is either called or published";
            self.conflict(publish, site, "publish", message);
            return None;
        }
        if let Some(ack) = &source.unsafe_ack {
            let message = "publishing is safe to repeat: `unsafe_ack` has no meaning here";
            self.conflict(ack, site, "unsafe_ack", message);
        }
        let routing_key = self.routing_key(publish, site, "publish");
        if routing_key.is_some() && publish.value.starts_with(OWN_KEYS) {
            let message = format!("keys that begin with `{OWN_KEYS}` are the orchestrator's own");
            let problem = Problem::new(ProblemKind::BadRoutingKey, publish.at, message)
                .found(format!("`{}`", publish.value));
            self.report_at(site, "publish", problem);
        }
        let request = match &source.message {
            Slot::Given(name) => self.message_type(name, site, "message"),
            Slot::Absent => {
                let message = "`message`, the type of what is published, is missing";
                self.report_at(
                    site,
                    "message",
                    Problem::new(ProblemKind::MissingKey, source.at, message),
                );
                None
            }
            Slot::Invalid => None,
        };
        let (reply, awaits) = match &source.awaits {
            Slot::Absent => (self.empty()?, None),
            Slot::Invalid => return None,
            Slot::Given(awaits) => {
                let (reply, awaits) = self.awaited(awaits, publish, site)?;
                (reply, Some(awaits))
            }
        };
        Some(Found {
            to: To::Publish(routing_key?),
            request: request?,
            reply,
            awaits,
        })
    }

    fn found_method(&mut self, source: &CallSource, site: Site<'_>) -> Option<Found> {
        if let Some(name) = source.message.given() {
            let message = "`message` is the type of what is published; a call has the request of its method";
            self.conflict(name, site, "message", message);
        }
        let awaits = match &source.awaits {
            Slot::Absent | Slot::Invalid => None,
            Slot::Given(awaits) => match &awaits.value {
                AwaitSource::Token => Some(Await::Token),
                AwaitSource::Reply { .. } => {
                    let message =
                        "a call has the reply of its method; only to what is published a reply is awaited";
                    let problem = Problem::new(ProblemKind::BadAwait, awaits.at, message)
                        .expected("token")
                        .found("a mapping");
                    self.report_at(site, "await", problem);
                    None
                }
            },
        };
        let method = self.method(source, site)?;
        Some(Found {
            request: method.input(),
            reply: method.output(),
            to: To::Method(method),
            awaits,
        })
    }

    fn awaited(
        &mut self,
        awaits: &Spanned<AwaitSource>,
        publish: &Spanned<String>,
        site: Site<'_>,
    ) -> Option<(MessageDescriptor, Await)> {
        let AwaitSource::Reply {
            reply,
            message,
            failed,
            ask_again,
        } = &awaits.value
        else {
            let message = "nothing says which reply is awaited to what is published";
            let problem = Problem::new(ProblemKind::BadAwait, awaits.at, message)
                .expected("{ reply: ROUTING_KEY, message: TYPE }")
                .found("token");
            self.report_at(site, "await", problem);
            return None;
        };
        let reply = self.awaited_key(awaits, reply, site);
        let message = match message {
            Slot::Given(name) => self.message_type(name, site, "await.message"),
            Slot::Absent => {
                let message = "`message`, the type of the reply, is missing";
                let problem = Problem::new(ProblemKind::MissingKey, awaits.at, message);
                self.report_at(site, "await.message", problem);
                None
            }
            Slot::Invalid => None,
        };
        let mut complete = true;
        if let Some(failed) = failed {
            complete = self.routing_key(failed, site, "await.failed").is_some();
        }
        let mut taken = vec![&publish.value];
        let keys = [(reply.as_ref(), "await.reply"), (failed.as_ref(), "await.failed")];
        for (key, field) in keys {
            let Some(key) = key else { continue };
            if taken.contains(&&key.value) {
                let message = format!("`{}` already means something else here", shorten(&key.value));
                self.conflict(key, site, field, &message);
                complete = false;
            }
            taken.push(&key.value);
        }
        let ask_again_ms = match ask_again {
            None => ASK_AGAIN_MS,
            Some(given) => {
                let range = MIN_ASK_AGAIN_MS..=MAX_ASK_AGAIN_MS;
                complete &= self.in_range(
                    given,
                    range,
                    site,
                    "await.ask_again",
                    ProblemKind::DurationOutOfRange,
                );
                given.value
            }
        };
        let (reply, message) = (reply?, message?);
        complete.then(|| {
            let awaits = Await::Reply {
                routing_key: reply.value,
                failed: failed.as_ref().map(|key| key.value.clone()),
                ask_again_ms,
            };
            (message, awaits)
        })
    }

    fn awaited_key(
        &mut self,
        awaits: &Spanned<AwaitSource>,
        reply: &Slot<String>,
        site: Site<'_>,
    ) -> Option<Spanned<String>> {
        match reply {
            Slot::Given(key) => {
                self.routing_key(key, site, "await.reply")?;
                Some(key.clone())
            }
            Slot::Absent => {
                let message = "`reply`, the routing key of the reply, is missing";
                let problem = Problem::new(ProblemKind::MissingKey, awaits.at, message);
                self.report_at(site, "await.reply", problem);
                None
            }
            Slot::Invalid => None,
        }
    }

    fn routing_key(&mut self, key: &Spanned<String>, site: Site<'_>, field: &str) -> Option<String> {
        if is_routing_key(&key.value) {
            return Some(key.value.clone());
        }
        let problem = Problem::new(ProblemKind::BadRoutingKey, key.at, "this is not a routing key")
            .expected(
                "two or more words of lower-case letters, digits and `_` joined by dots, at most 200 bytes",
            )
            .found(format!("`{}`", shorten(&key.value)));
        self.report_at(site, field, problem);
        None
    }

    fn conflict<T>(&mut self, at: &Spanned<T>, site: Site<'_>, field: &str, message: &str) {
        self.report_at(
            site,
            field,
            Problem::new(ProblemKind::ConflictingKeys, at.at, message),
        );
    }

    /// The reply of what is published and not awaited.
    fn empty(&self) -> Option<MessageDescriptor> {
        const EMPTY: &str = "google.protobuf.Empty";
        self.pool
            .get_message_by_name(EMPTY)
            .or_else(|| DescriptorPool::global().get_message_by_name(EMPTY))
    }

    /// Finds the method a call names.
    fn method(&mut self, source: &CallSource, site: Site<'_>) -> Option<MethodDescriptor> {
        let text = match &source.method {
            Slot::Given(text) => text,
            Slot::Invalid => return None,
            Slot::Absent => {
                self.report_at(
                    site,
                    "call",
                    Problem::new(ProblemKind::MissingKey, source.at, "`call` is missing"),
                );
                return None;
            }
        };
        let parts = text.value.split_once('/');
        let parts =
            parts.filter(|(service, method)| service.split('.').all(is_identifier) && is_identifier(method));
        let Some((service_name, method_name)) = parts else {
            let problem = Problem::new(ProblemKind::BadMethod, text.at, "this does not name a method")
                .expected("package.Service/Method")
                .found(format!("`{}`", shorten(&text.value)));
            self.report_at(site, "call", problem);
            return None;
        };
        if self.participants.resolve(service_name).is_none() {
            let known: Vec<&str> = self.participants.iter().collect();
            let message = format!("no participant is configured for `{}`", shorten(service_name));
            let problem = Problem::new(ProblemKind::UnknownParticipant, text.at, message).expected(
                if known.is_empty() {
                    "none is configured".to_owned()
                } else {
                    known.join(", ")
                },
            );
            self.report_at(site, "call", problem);
        }
        let Some(service) = self.pool.get_service_by_name(service_name) else {
            let pool = self.pool.clone();
            let services: Vec<ServiceDescriptor> = pool.services().collect();
            let hint = did_you_mean(service_name, services.iter().map(ServiceDescriptor::full_name));
            let message = format!(
                "there is no service `{}` among the descriptors{hint}",
                shorten(service_name)
            );
            self.report_at(
                site,
                "call",
                Problem::new(ProblemKind::UnknownService, text.at, message),
            );
            return None;
        };
        let methods: Vec<MethodDescriptor> = service.methods().collect();
        let Some(method) = methods.iter().find(|method| method.name() == method_name) else {
            let hint = did_you_mean(method_name, methods.iter().map(MethodDescriptor::name));
            let message = format!("{service_name} has no method `{}`{hint}", shorten(method_name));
            self.report_at(
                site,
                "call",
                Problem::new(ProblemKind::UnknownMethod, text.at, message),
            );
            return None;
        };
        if method.is_client_streaming() || method.is_server_streaming() {
            let problem = Problem::new(
                ProblemKind::StreamingMethod,
                text.at,
                "a step calls a unary method",
            )
            .expected("a unary method")
            .found("a streaming method");
            self.report_at(site, "call", problem);
        }
        Some(method.clone())
    }
}
