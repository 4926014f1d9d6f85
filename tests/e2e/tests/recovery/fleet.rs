//! Three orchestrators on one database, each behind gates of its own.

use std::time::Duration;

use e2e::{LONG, Orchestrator, Platform};
use proto::task::v1::task_service_client::TaskServiceClient;
use test_support::{ChildProcess, Signal, TestDatabase, eventually, free_port};
use token::Channel;

use crate::gate::{Gate, Way};
use crate::journal;

const REPLICAS: usize = 3;
/// Processes of the task service: each has one connection to the orchestrators, and so one of them.
const FRONTS: usize = 3;

/// Sagas of one replica that make it worth to be disturbed.
const SAGAS: usize = 2;

/// One orchestrator, the ways from it, and the way of the others to it.
#[derive(Debug)]
pub(crate) struct Replica {
    pub(crate) orchestrator: Orchestrator,
    admin: u16,
    process: Option<ChildProcess>,
    pub(crate) postgres: Gate,
    participants: Vec<(String, Gate)>,
    peers: Gate,
}

impl Replica {
    pub(crate) fn name(&self) -> &str {
        &self.orchestrator.instance
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.as_ref().expect("it runs").pid()
    }

    pub(crate) fn process(&mut self) -> &mut ChildProcess {
        self.process.as_mut().expect("it runs")
    }

    pub(crate) fn participants(&self) -> impl Iterator<Item = &Gate> {
        self.participants.iter().map(|(_, gate)| gate)
    }

    /// Cuts it off from the database and from the other replicas, or mends that.
    pub(crate) fn island(&self, way: Way) {
        self.postgres.set(way);
        self.peers.set(way);
    }
}

/// How orchestrators reach participants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// As in production: who is away refuses connections.
    Direct,
    /// By way of gates, which can be cut.
    Gated,
}

/// A platform with three orchestrators.
#[derive(Debug)]
pub(crate) struct Fleet {
    reach: Reach,
    pub(crate) platform: Platform,
    pub(crate) replicas: Vec<Replica>,
    /// Clients of the processes of the task service.
    pub(crate) fronts: Vec<TaskServiceClient<Channel>>,
    _fronts: Vec<ChildProcess>,
    entrance: Gate,
}

impl Fleet {
    pub(crate) async fn start(reach: Reach) -> Self {
        Self::start_on(TestDatabase::create(&[]).await, reach).await
    }

    pub(crate) async fn start_on(database: TestDatabase, reach: Reach) -> Self {
        let connections = [("MIN", "1"), ("MAX", "20")];
        let settings =
            connections.map(|(name, value)| (format!("EVENKEEL_DATABASE__{name}"), value.to_owned()));
        let mut platform = Platform::start_on(database, settings.into()).await;
        // What callers know as the orchestrator is an entrance to three from now on.
        platform.saga = None;
        let mut replicas = Vec::new();
        for number in 0..REPLICAS {
            replicas.push(replica(&platform, number).await);
        }
        let ports: Vec<u16> = replicas.iter().map(|replica| replica.orchestrator.port).collect();
        let entrance = Gate::open(platform.orchestrator.port, &ports).await;
        let mut fleet = Self {
            reach,
            platform,
            replicas,
            fronts: Vec::new(),
            _fronts: Vec::new(),
            entrance,
        };
        for number in 0..REPLICAS {
            fleet.start_replica(number).await;
        }
        fleet.platform.ready().await;
        fleet.fronts.push(fleet.platform.tasks());
        for _ in 1..FRONTS {
            let (public, steps) = (free_port(), free_port());
            let command = fleet.platform.service_command_at("task", public, steps);
            fleet._fronts.push(ChildProcess::spawn(command));
            fleet.fronts.push(fleet.platform.tasks_at(public));
        }
        for front in &fleet.fronts {
            eventually(LONG, || async {
                let answer = front
                    .clone()
                    .get_task(proto::task::v1::GetTaskRequest::default())
                    .await;
                answer.is_err_and(|status| status.code() == tonic::Code::InvalidArgument)
            })
            .await;
        }
        fleet
    }

    /// Starts a replica and waits until it is ready.
    pub(crate) async fn start_replica(&mut self, number: usize) {
        let replica = &self.replicas[number];
        self.entrance.set_ready(replica.orchestrator.port, false);
        let database = through(&self.platform.database.url(), replica.postgres.port);
        let mut command = self.platform.orchestrator_command(&replica.orchestrator);
        let gated = (self.reach == Reach::Gated).then_some(&replica.participants);
        for (package, gate) in gated.into_iter().flatten() {
            let place = format!("{package}=http://127.0.0.1:{}", gate.port);
            command.args(["--participant", &place]);
        }
        command
            .env("DATABASE_URL", database)
            .env(
                "EVENKEEL_SAGA__ADDRESS",
                format!("http://127.0.0.1:{}", replica.peers.port),
            )
            .env("EVENKEEL_ADMIN__LISTEN", format!("127.0.0.1:{}", replica.admin));
        let ready = format!("http://127.0.0.1:{}/readyz", replica.admin);
        self.replicas[number].process = Some(ChildProcess::spawn(command));
        eventually(LONG, || async {
            reqwest::get(&ready)
                .await
                .is_ok_and(|answer| answer.status().is_success())
        })
        .await;
        self.entrance
            .set_ready(self.replicas[number].orchestrator.port, true);
    }

    /// Kills a replica at once. Nobody knows before a connection to it is refused.
    pub(crate) fn kill(&mut self, number: usize) {
        let process = self.replicas[number].process.take().expect("it runs");
        process.signal(Signal::Kill);
        drop(process);
    }

    /// Tells a replica to end, and waits until it has.
    pub(crate) async fn end(&mut self, number: usize) -> Duration {
        let mut process = self.replicas[number].process.take().expect("it runs");
        let began = std::time::Instant::now();
        // As Kubernetes does at the same moment.
        self.entrance
            .set_ready(self.replicas[number].orchestrator.port, false);
        process.signal(Signal::Term);
        let status = process.wait(LONG).await;
        assert!(status.success(), "{status}: {:?}", process.stderr());
        began.elapsed()
    }

    /// Waits until there is work under way to be disturbed; returns the replica that drives most of it.
    pub(crate) async fn busy(&self) -> usize {
        eventually(LONG, || async {
            let mut most = (0, 0);
            for (number, replica) in self.replicas.iter().enumerate() {
                let sagas = journal::unfinished(self.platform.sql(), replica.name())
                    .await
                    .len();
                most = most.max((sagas, number));
            }
            (most.0 >= SAGAS).then_some(most.1)
        })
        .await
    }

    pub(crate) async fn epochs(&self) -> Vec<i64> {
        let mut epochs = Vec::new();
        for replica in &self.replicas {
            epochs.push(journal::epoch(self.platform.sql(), replica.name()).await);
        }
        epochs
    }
}

async fn replica(platform: &Platform, number: usize) -> Replica {
    let orchestrator = Orchestrator {
        instance: format!("saga-{number}"),
        port: free_port(),
    };
    let mut participants = Vec::new();
    for (package, participant) in &platform.participants {
        let gate = Gate::open(0, &[port_of(&participant.url)]).await;
        participants.push((package.clone(), gate));
    }
    Replica {
        postgres: Gate::open(0, &[port_of(&platform.database.url())]).await,
        peers: Gate::open(0, &[orchestrator.port]).await,
        participants,
        admin: free_port(),
        orchestrator,
        process: None,
    }
}

/// The port in a URL on this machine.
fn port_of(url: &str) -> u16 {
    let digits = url.split_once("127.0.0.1:").map(|(_, rest)| rest);
    let digits = digits.and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next());
    let port = digits.and_then(|digits| digits.parse().ok());
    port.unwrap_or_else(|| panic!("no port of this machine in {url}"))
}

/// The same URL by way of another port.
fn through(url: &str, port: u16) -> String {
    let own = format!("127.0.0.1:{}", port_of(url));
    url.replacen(&own, &format!("127.0.0.1:{port}"), 1)
}
