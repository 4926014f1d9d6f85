//! Who answers the steps: doubles, or the participants as they really are.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use conformance::Upstream;
use conformance::double;
use saga_definition::Definition;
use token::{OPERATOR, ORCHESTRATOR};

use super::Args;
use super::orchestrator::Participant;
use crate::cmd::participant::on_this_machine;
use crate::exit::{Code, Failure};
use crate::identity::{self, Identity};
use crate::wiring::settings;

/// A participant on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Given {
    package: String,
    url: String,
    error_domain: String,
}

impl FromStr for Given {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || "expected PACKAGE=URL,ERROR_DOMAIN, none of them empty".to_owned();
        let (package, rest) = text.split_once('=').ok_or_else(expected)?;
        let (url, error_domain) = rest.split_once(',').ok_or_else(expected)?;
        if [package, url, error_domain].contains(&"") {
            return Err(expected());
        }
        Ok(Self {
            package: package.to_owned(),
            url: url.to_owned(),
            error_domain: error_domain.to_owned(),
        })
    }
}

/// The participants as they really are: how each is called, and how the orchestrator is told of it.
pub(super) type Real = BTreeMap<String, (Upstream, Participant)>;

/// Finds out who answers for each package that the definition calls.
///
/// # Errors
/// Nobody says, or it is on another machine.
pub(super) fn real(args: &Args, definition: &Definition, keys: Option<&Path>) -> Result<Real, Failure> {
    let orchestrator = Identity::orchestrator(keys)?;
    let configured = match &args.participants {
        Some(file) => settings::load(Some(file))?.saga.participants,
        None => BTreeMap::new(),
    };
    let mut real = Real::new();
    for prefix in definition.participants().iter() {
        let given = args.given.iter().find(|given| given.package == prefix);
        let of_settings = configured.get(prefix);
        let (url, error_domain) = match (given, of_settings) {
            (Some(given), _) => (&given.url, &given.error_domain),
            (None, Some(found)) => (&found.url, &found.error_domain),
            (None, None) => {
                return Err(
                    Failure::new(Code::Usage, format!("nothing says who answers for {prefix}")).next(
                        format!(
                            "name it with --participant {prefix}=URL,ERROR_DOMAIN or --participants FILE"
                        ),
                    ),
                );
            }
        };
        on_this_machine(url, args.not_production)?;
        let audience = of_settings.and_then(|found| found.audience.clone());
        let line = orchestrator.line(url, audience.as_deref().unwrap_or(prefix))?;
        let upstream = Upstream {
            channel: line.channel,
            error_domain: error_domain.clone(),
        };
        let participant = Participant {
            error_domain: error_domain.clone(),
            audience,
        };
        real.insert(prefix.to_owned(), (upstream, participant));
    }
    Ok(real)
}

/// The directory with the keys that real participants know, if there is one.
pub(super) fn key_directory(given: Option<&Path>) -> Option<PathBuf> {
    let dir = given.unwrap_or(Path::new(identity::DEFAULT_DIR));
    let has = |name: &str| dir.join(format!("{name}.key.pem")).exists();
    (has(ORCHESTRATOR) && has(OPERATOR)).then(|| dir.to_owned())
}

/// Doubles that answer for everybody at one place.
///
/// # Errors
/// The place is none.
pub(super) fn doubled(definition: &Definition, url: &str) -> Result<Real, Failure> {
    let mut real = Real::new();
    // Types come with a participant, so there is one though nothing is called.
    let participants = definition.participants();
    let prefixes: Vec<&str> = participants.iter().collect();
    let prefixes = if prefixes.is_empty() {
        vec![double::DOMAIN]
    } else {
        prefixes
    };
    for prefix in prefixes {
        let channel = rpc::channel::lazy(url)
            .map_err(|e| Failure::unavailable("the doubles have no address").because(&e))?;
        let upstream = Upstream {
            channel: channel.into(),
            error_domain: double::DOMAIN.to_owned(),
        };
        let participant = Participant {
            error_domain: double::DOMAIN.to_owned(),
            audience: None,
        };
        real.insert(prefix.to_owned(), (upstream, participant));
    }
    Ok(real)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_participant_has_package_url_and_domain() {
        let given: Given = "acme.shop.v1=http://127.0.0.1:7191,shop.acme".parse().unwrap();
        assert_eq!(given.error_domain, "shop.acme");
        for wrong in [
            "acme.shop.v1",
            "acme.shop.v1=http://x:1",
            "=http://x:1,d",
            "a=,d",
            "a=u,",
        ] {
            assert!(wrong.parse::<Given>().is_err(), "{wrong}");
        }
    }
}
