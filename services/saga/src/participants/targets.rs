//! Which services may be called, and where they are.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use prost_reflect::{DescriptorError, DescriptorPool};
use rpc::channel::EndpointError;
use saga_definition::Participants as Allowed;
use saga_engine::{Participant, ParticipantId};
use serde::Deserialize;
use token::{Channel, Credentials, NameError, ServiceName};

/// Name under which requests that are published count as one participant.
const OUTBOX: &str = "outbox";
/// Most requests written to the outbox at the same time. Each takes a connection of the API's pool for about a
/// millisecond; requests need the others.
const MAX_PUBLISHING: usize = 4;
/// Largest descriptor file that is read, in bytes.
const MAX_DESCRIPTOR_BYTES: u64 = 16 * 1024 * 1024;

/// One participant: everything below a package (or a service) name.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// gRPC endpoint of the steps, `http://host:port` or `https://host:port`.
    pub url: String,
    /// `ErrorInfo.domain` of the participant's own refusals, for example `quota.evenkeel`.
    pub error_domain: String,
    /// File with an encoded `FileDescriptorSet`, imports included, for services that are not Evenkeel's own.
    #[serde(default)]
    pub descriptors: Option<PathBuf>,
    /// Name under which it checks the orchestrator's tokens; if absent, `quota` for our own `evenkeel.quota.v1`, else the package.
    #[serde(default)]
    pub audience: Option<String>,
    /// Most calls to it at the same time; the limit for all participants if absent. At least 1.
    #[serde(default)]
    pub limit: Option<usize>,
}

/// The participants' configuration is not usable.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The URL is not one.
    #[error("participant {prefix}: the url is not usable")]
    Url {
        /// The participant.
        prefix: String,
        /// The cause.
        #[source]
        source: EndpointError,
    },
    /// Nobody could check a token for it.
    #[error("participant {prefix}: the audience is not usable")]
    Audience {
        /// The participant.
        prefix: String,
        /// The cause.
        #[source]
        source: NameError,
    },
    /// No call could ever be made.
    #[error("participant {0}: limit must be at least 1")]
    NoPlace(String),
    /// The error domain is empty, so that no refusal could ever be recognised.
    #[error("participant {0}: error_domain is empty")]
    NoErrorDomain(String),
    /// The descriptor file cannot be read.
    #[error("participant {prefix}: cannot read the descriptors in {}", path.display())]
    Unreadable {
        /// The participant.
        prefix: String,
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The descriptor file is not a complete `FileDescriptorSet`.
    #[error("participant {prefix}: {} is not a FileDescriptorSet with its imports", path.display())]
    Descriptors {
        /// The participant.
        prefix: String,
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: Box<DescriptorError>,
    },
    /// Files of two participants have the same name.
    #[error(
        "participant {prefix}: another participant has a file {file:?} of another package; name them by package, as in \
         acme/shop/v1/shop.proto"
    )]
    SameName {
        /// The participant.
        prefix: String,
        /// The file.
        file: String,
    },
}

/// Where one participant is reached.
#[derive(Debug)]
pub struct Target {
    /// Position among all participants, by name.
    pub(crate) id: ParticipantId,
    pub(crate) error_domain: Arc<str>,
    pub(crate) channel: Channel,
}

/// All configured participants with their types.
#[derive(Debug)]
pub struct Targets {
    by_prefix: BTreeMap<String, Arc<Target>>,
    limits: Vec<(Arc<str>, Option<usize>)>,
    allowed: Allowed,
    types: DescriptorPool,
}

impl Targets {
    /// Reads the descriptor files and prepares one channel for each participant, which connects on first use, and over which
    /// `credentials` say who calls.
    ///
    /// To be called within a tokio runtime, the one the calls will run on.
    ///
    /// # Errors
    /// [`ConfigError`] names the participant whose configuration is wrong.
    pub fn open(
        participants: &BTreeMap<String, Config>,
        credentials: &Credentials,
    ) -> Result<Self, ConfigError> {
        let mut types = proto::descriptor_pool();
        let mut by_prefix = BTreeMap::new();
        let mut limits = Vec::new();
        for (position, (prefix, config)) in participants.iter().enumerate() {
            if config.error_domain.is_empty() {
                return Err(ConfigError::NoErrorDomain(prefix.clone()));
            }
            if config.limit == Some(0) {
                return Err(ConfigError::NoPlace(prefix.clone()));
            }
            if let Some(path) = &config.descriptors {
                add_descriptors(&mut types, prefix, path)?;
            }
            let audience = audience(prefix, config).map_err(|source| ConfigError::Audience {
                prefix: prefix.clone(),
                source,
            })?;
            let channel = credentials
                .connect(&config.url, audience)
                .map_err(|source| ConfigError::Url {
                    prefix: prefix.clone(),
                    source,
                })?;
            limits.push((prefix.as_str().into(), config.limit));
            let target = Target {
                id: ParticipantId(position),
                error_domain: config.error_domain.as_str().into(),
                channel,
            };
            by_prefix.insert(prefix.clone(), Arc::new(target));
        }
        let allowed = Allowed::new(by_prefix.keys().cloned());
        Ok(Self {
            by_prefix,
            limits,
            allowed,
            types,
        })
    }

    /// Returns the participant that answers for a service: the one with the longest prefix in whole words.
    #[must_use]
    pub fn of_service(&self, service: &str) -> Option<&Arc<Target>> {
        self.by_prefix.get(self.allowed.resolve(service)?)
    }

    /// Lists the participants as the engine tells them apart, in the order of their ids. The outbox is the last of them.
    pub(crate) fn participants(&self) -> Vec<Participant> {
        let configured = self.limits.iter().map(|(name, limit)| Participant {
            name: Arc::clone(name),
            limit: *limit,
        });
        let outbox = Participant {
            name: OUTBOX.into(),
            limit: Some(MAX_PUBLISHING),
        };
        configured.chain([outbox]).collect()
    }

    /// Returns the participant that stands for requests that are published.
    pub(crate) fn outbox(&self) -> ParticipantId {
        ParticipantId(self.limits.len())
    }

    /// Returns the packages and services that definitions may call.
    #[must_use]
    pub fn allowed(&self) -> &Allowed {
        &self.allowed
    }

    /// Returns the types that definitions are checked against.
    #[must_use]
    pub fn types(&self) -> &DescriptorPool {
        &self.types
    }
}

/// Whom a participant's tokens are for: the service, whatever the version of its package.
fn audience(prefix: &str, config: &Config) -> Result<ServiceName, NameError> {
    let own = prefix
        .strip_prefix("evenkeel.")
        .and_then(|rest| rest.split('.').next());
    let name = config.audience.as_deref().or(own).unwrap_or(prefix);
    name.parse()
}

fn add_descriptors(types: &mut DescriptorPool, prefix: &str, path: &PathBuf) -> Result<(), ConfigError> {
    let unreadable = |source| ConfigError::Unreadable {
        prefix: prefix.to_owned(),
        path: path.clone(),
        source,
    };
    let size = std::fs::metadata(path).map_err(unreadable)?.len();
    if size > MAX_DESCRIPTOR_BYTES {
        return Err(unreadable(std::io::Error::other(format!(
            "the file has {size} bytes; at most {MAX_DESCRIPTOR_BYTES} are read"
        ))));
    }
    let bytes = std::fs::read(path).map_err(unreadable)?;
    let unusable = |source| ConfigError::Descriptors {
        prefix: prefix.to_owned(),
        path: path.clone(),
        source: Box::new(source),
    };
    let theirs = DescriptorPool::decode(bytes.as_slice()).map_err(unusable)?;
    for file in theirs.files() {
        // A file whose name is known is not added: a different one would be missing without a word.
        let known = types.get_file_by_name(file.name());
        if known.is_some_and(|known| known.package_name() != file.package_name()) {
            return Err(ConfigError::SameName {
                prefix: prefix.to_owned(),
                file: file.name().to_owned(),
            });
        }
    }
    types
        .decode_file_descriptor_set(bytes.as_slice())
        .map_err(unusable)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(url: &str) -> Config {
        Config {
            url: url.to_owned(),
            error_domain: "test.evenkeel".to_owned(),
            descriptors: None,
            audience: None,
            limit: None,
        }
    }

    fn credentials() -> Credentials {
        test_support::identities().credentials("saga")
    }

    #[test]
    fn tokens_are_for_the_service_whatever_the_package() {
        let named = |prefix, config: Config| audience(prefix, &config).map(|name| name.to_string());
        assert_eq!(named("evenkeel.quota.v1", config("x")).as_deref(), Ok("quota"));
        assert_eq!(named("acme.shop.v1", config("x")).as_deref(), Ok("acme.shop.v1"));
        let other = Config {
            audience: Some("shop".to_owned()),
            ..config("x")
        };
        assert_eq!(named("acme.shop.v1", other).as_deref(), Ok("shop"));
        assert!(named("acme shop", config("x")).is_err());
    }

    #[tokio::test]
    async fn the_longest_prefix_answers_and_unknown_services_have_no_target() {
        let participants = BTreeMap::from([
            (
                "a".to_owned(),
                Config {
                    error_domain: "outer".to_owned(),
                    ..config("http://a:1")
                },
            ),
            (
                "a.b".to_owned(),
                Config {
                    error_domain: "inner".to_owned(),
                    ..config("http://b:1")
                },
            ),
        ]);
        let targets = Targets::open(&participants, &credentials()).unwrap();
        let domain = |service| targets.of_service(service).map(|t| t.error_domain.to_string());
        assert_eq!(domain("a.b.Steps").as_deref(), Some("inner"));
        assert_eq!(domain("a.bc.Steps").as_deref(), Some("outer"));
        assert_eq!(domain("b.Steps"), None);
    }

    #[tokio::test]
    async fn each_mistake_names_the_participant() {
        let open = |config| {
            Targets::open(&BTreeMap::from([("shop.v1".to_owned(), config)]), &credentials()).unwrap_err()
        };
        let missing = Config {
            descriptors: Some("/does/not/exist".into()),
            ..config("http://a:1")
        };
        let nameless = Config {
            error_domain: String::new(),
            ..config("http://a:1")
        };
        let placeless = Config {
            limit: Some(0),
            ..config("http://a:1")
        };
        for error in [
            open(config("not a url")),
            open(missing),
            open(nameless),
            open(placeless),
        ] {
            assert!(error.to_string().contains("shop.v1"), "{error}");
        }
        let file = std::env::temp_dir().join(format!("not-descriptors-{}", std::process::id()));
        std::fs::write(&file, b"\xff\xff\xff").unwrap();
        let garbage = Config {
            descriptors: Some(file.clone()),
            ..config("http://a:1")
        };
        assert!(matches!(open(garbage), ConfigError::Descriptors { .. }));
        std::fs::remove_file(file).unwrap();
    }

    #[tokio::test]
    async fn a_file_that_would_hide_another_is_an_error() {
        let own = "evenkeel/quota/v1/quota_steps.proto".to_owned();
        let theirs = prost_types::FileDescriptorProto {
            name: Some(own.clone()),
            package: Some("acme.shop.v1".to_owned()),
            ..prost_types::FileDescriptorProto::default()
        };
        assert!(proto::descriptor_pool().get_file_by_name(&own).is_some());
        let set = prost_types::FileDescriptorSet { file: vec![theirs] };
        let path = std::env::temp_dir().join(format!("same-name-{}", std::process::id()));
        std::fs::write(&path, prost::Message::encode_to_vec(&set)).unwrap();
        let hiding = Config {
            descriptors: Some(path.clone()),
            ..config("http://a:1")
        };
        let error = Targets::open(
            &BTreeMap::from([("acme.shop.v1".to_owned(), hiding)]),
            &credentials(),
        )
        .unwrap_err();
        std::fs::remove_file(path).unwrap();
        assert!(matches!(error, ConfigError::SameName { file, .. } if file == own));
    }
}
