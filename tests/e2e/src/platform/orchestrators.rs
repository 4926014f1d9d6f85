//! Orchestrators of a platform, who answers their calls, and what they run.

use std::path::PathBuf;
use std::process::Command;

use proto::saga::v1::{ActivateDefinitionRequest, RegisterDefinitionRequest};
use test_support::ChildProcess;

use super::{Platform, local};

/// Where the orchestrator listens and what it is called.
#[derive(Debug, Clone)]
pub struct Orchestrator {
    pub instance: String,
    pub port: u16,
}

/// Who answers for a package.
#[derive(Debug, Clone)]
pub struct Participant {
    pub url: String,
    /// Of a package that is not Evenkeel's own: error domain, and file with the descriptors.
    foreign: Option<(String, PathBuf)>,
}

impl Participant {
    pub(crate) fn at(url: String) -> Self {
        Self { url, foreign: None }
    }

    fn setting(&self, package: &str) -> String {
        let Some((domain, descriptors)) = &self.foreign else {
            return String::new();
        };
        format!(
            "[saga.participants.{package:?}]\nurl = {:?}\nerror_domain = {domain:?}\ndescriptors = {descriptors:?}\n",
            self.url
        )
    }
}

impl Platform {
    /// Starts the orchestrator's process; the one before must have ended.
    pub fn start_orchestrator(&mut self) {
        self.saga = Some(self.spawn_orchestrator(&self.orchestrator.clone()));
    }

    /// Starts an orchestrator of any name and port on the platform's database.
    pub fn spawn_orchestrator(&self, orchestrator: &Orchestrator) -> ChildProcess {
        let mut command = self.orchestrator_command(orchestrator);
        // A minute between attempts that need attention is for people; tests are in a hurry.
        command.env("EVENKEEL_SAGA__ATTENTION_WAIT", "500ms");
        ChildProcess::spawn(command)
    }

    /// The command of an orchestrator of any name and port, with the product's own settings.
    pub fn orchestrator_command(&self, orchestrator: &Orchestrator) -> Command {
        let mut command = self.command(&[
            "serve",
            "saga",
            "--listen",
            &local(orchestrator.port),
            "--instance",
            &orchestrator.instance,
        ]);
        for (package, participant) in self.participants.iter().filter(|(_, p)| p.foreign.is_none()) {
            command.args(["--participant", &format!("{package}={}", participant.url)]);
        }
        let foreign = self.participants.iter().filter(|(_, p)| p.foreign.is_some());
        let settings: String = foreign
            .map(|(package, participant)| participant.setting(package))
            .collect();
        let config = self.scratch.path().join("participants.toml");
        std::fs::write(&config, settings).expect("the directory can be written");
        command.arg("--config").arg(&config);
        command
    }

    /// Ends the orchestrator and starts it again, with somebody else to answer for a package.
    pub async fn with_participant(&mut self, package: &str, url: String) {
        self.participants.insert(package.to_owned(), Participant::at(url));
        self.saga = None;
        self.start_orchestrator();
        self.ready().await;
    }

    /// Adds somebody to answer for a package that is not Evenkeel's own, from the next start of the orchestrator on.
    pub fn foreign_participant(&mut self, package: &str, url: String, domain: &str, descriptors: &[u8]) {
        let file = self.scratch.path().join(format!("{package}.bin"));
        std::fs::write(&file, descriptors).expect("the directory can be written");
        let participant = Participant {
            url,
            foreign: Some((domain.to_owned(), file)),
        };
        self.participants.insert(package.to_owned(), participant);
    }

    /// Registers a definition and makes it startable.
    pub async fn register(&self, source: &str, name: &str) {
        let request = RegisterDefinitionRequest {
            source: source.to_owned(),
            source_name: format!("{name}.yaml"),
            check_only: false,
        };
        let registered = self.sagas().register_definition(request).await;
        let registered = registered.expect("the orchestrator answers").into_inner();
        assert_eq!(registered.problems, [], "{name} has mistakes");
        let request = ActivateDefinitionRequest {
            name: name.to_owned(),
            version: 1,
            deactivate: false,
        };
        let activated = self.sagas().activate_definition(request).await;
        activated.expect("the orchestrator answers");
    }
}
