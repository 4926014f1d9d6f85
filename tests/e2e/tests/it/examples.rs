//! What `docs/sagas.md` tells a newcomer to do, with both example participants.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use e2e::{LONG, binary};
use test_support::{ChildProcess, Scratch, TestDatabase};

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples");

/// A newcomer's folder, with everything running in it.
struct Newcomer {
    folder: Scratch,
    example: PathBuf,
    database: TestDatabase,
    saga_url: String,
    processes: Vec<ChildProcess>,
}

impl Newcomer {
    async fn new(example: &str) -> Self {
        Self {
            folder: Scratch::new().unwrap(),
            example: Path::new(EXAMPLES).join(example),
            database: TestDatabase::create(&[]).await,
            saga_url: String::new(),
            processes: Vec::new(),
        }
    }

    fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command
            .current_dir(self.folder.path())
            .env_remove("RUST_BACKTRACE")
            .env("EVENKEEL_SAGA_URL", &self.saga_url)
            .env("DATABASE_URL", self.database.url());
        command
    }

    /// Runs `evenkeel` and returns its output.
    fn evenkeel(&self, args: &[&str]) -> Output {
        self.command(binary()).args(args).output().unwrap()
    }

    /// Runs `evenkeel`, which must succeed, and returns what it printed.
    fn does(&self, args: &[&str]) -> String {
        let output = self.evenkeel(args);
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn file(&self, name: &str) -> String {
        self.example.join(name).to_str().unwrap().to_owned()
    }

    /// Starts a participant, which prints where it listens last on its first line, and `evenkeel dev` with it.
    async fn start(&mut self, participant: Command, default_address: &str) {
        let participant = ChildProcess::spawn(participant);
        let line = participant
            .wait_for_line(LONG, |line| line.contains(" listens on "))
            .await;
        let address = line.rsplit(' ').next().unwrap();

        let settings = std::fs::read_to_string(self.file("evenkeel.toml")).unwrap();
        assert!(settings.contains(default_address), "{settings}");
        let settings = settings.replace(default_address, address);
        std::fs::write(self.folder.path().join("evenkeel.toml"), settings).unwrap();

        let mut dev = self.command(binary());
        dev.args(["dev", "--port-base", "0", "--config", "evenkeel.toml"]);
        let dev = ChildProcess::spawn(dev);
        let line = dev
            .wait_for_line(LONG, |line| line.contains("export EVENKEEL_SAGA_URL="))
            .await;
        self.saga_url = line.split('=').nth(1).unwrap().to_owned();
        self.processes = vec![participant, dev];
    }

    /// Checks, registers and activates a definition.
    fn register(&self, definition: &str) {
        let file = self.file(definition);
        let checked = self.does(&["saga", "check", &file, "--participants", "evenkeel.toml"]);
        assert!(checked.contains(": ok: "), "{checked}");
        self.does(&["saga", "register", &file, "--activate"]);
    }

    /// Starts a saga, waits for its end, and returns the exit code and its state.
    fn run_saga(&self, definition: &str, id: &str, input: &str) -> (Option<i32>, String) {
        let output = self.evenkeel(&[
            "saga",
            "start",
            definition,
            "--business-id",
            id,
            "--input",
            input,
            "--wait",
            "end",
            "--timeout",
            "30s",
            "-o",
            "json",
        ]);
        let answer: serde_json::Value =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
        let state = answer["saga"]["phase"].as_str().unwrap_or_default().to_owned();
        (output.status.code(), state)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_saga_over_the_rust_participant_runs_and_compensates() {
    let mut me = Newcomer::new("rust-participant").await;
    let proto = me.file("proto/acme/shop/v1/shop.proto");
    me.does(&["proto", "compile", &proto, "--out", "shop.binpb"]);
    let mut shop = me.command(binary().with_file_name("rust-participant"));
    shop.env("LISTEN", "127.0.0.1:0");
    me.start(shop, "127.0.0.1:7191").await;
    me.register("ORDER.yaml");

    let order = |id: &str, customer: &str| {
        format!(
            r#"{{"order_id": "{id}", "customer": "{customer}", "item": "kettle", "quantity": 2, "price_minor": 500}}"#
        )
    };
    let ended = me.run_saga("ORDER", "order-1", &order("order-1", "ada"));
    assert_eq!(ended, (Some(0), "COMPLETED".to_owned()));
    let ended = me.run_saga("ORDER", "order-2", &order("order-2", "bob"));
    assert_eq!(ended, (Some(1), "COMPENSATED".to_owned()));
    let again = me.run_saga("ORDER", "order-1", &order("order-1", "ada"));
    assert_eq!(again.0, Some(0), "the same order is the same saga");

    let books: (i64, i64, i64, i64) = sqlx::query_as(
        "select (select available from shop.stock where item = 'kettle'), \
             (select balance_minor from shop.wallet where customer = 'ada'), \
             (select balance_minor from shop.wallet where customer = 'bob'), \
             (select count(*) from shop.parcel)",
    )
    .fetch_one(me.database.admin())
    .await
    .unwrap();
    assert_eq!(books, (8, 9_500, 100, 1));
}

/// A python3 with grpcio, or the end of the test with what to do.
fn python() -> PathBuf {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/ensure-python-grpc.sh");
    let found = Command::new(script).arg("--find").output().unwrap();
    assert!(
        found.status.success(),
        "the Python example was NOT tested: run deploy/ensure-python-grpc.sh\n{}",
        String::from_utf8_lossy(&found.stderr)
    );
    PathBuf::from(String::from_utf8(found.stdout).unwrap().trim())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_saga_over_the_python_participant_runs_and_compensates() {
    let python = python();
    let mut me = Newcomer::new("python-participant").await;
    let proto = me.file("proto/acme/travel/v1/travel.proto");
    me.does(&["proto", "compile", &proto, "--out", "travel.binpb"]);
    let mut agency = me.command(&python);
    agency.env("PYTHONDONTWRITEBYTECODE", "1").args([
        &me.file("participant.py"),
        "--descriptors",
        "travel.binpb",
        "--listen",
        "127.0.0.1:0",
    ]);
    me.start(agency, "127.0.0.1:7192").await;
    me.register("TRIP.yaml");

    let trip = |id: &str, city: &str| format!(r#"{{"trip_id": "{id}", "city": "{city}"}}"#);
    let ended = me.run_saga("TRIP", "trip-1", &trip("trip-1", "Lisbon"));
    assert_eq!(ended, (Some(0), "COMPLETED".to_owned()));
    let ended = me.run_saga("TRIP", "trip-2", &trip("trip-2", "Atlantis"));
    assert_eq!(ended, (Some(1), "COMPENSATED".to_owned()));

    let books = "import sqlite3; print(sqlite3.connect('travel.db').execute(\
         'select trip_id, what, name from booking order by what').fetchall())";
    let books = me.command(&python).args(["-c", books]).output().unwrap();
    assert_eq!(
        String::from_utf8(books.stdout).unwrap().trim(),
        "[('trip-1', 'flight', 'EK 1 to Lisbon'), ('trip-1', 'hotel', 'Grand Hotel Lisbon'), \
         ('trip-1', 'tickets', 'Grand Hotel Lisbon, EK 1 to Lisbon')]"
    );
}

/// The block of `docs/sagas.md` in this language that begins with this text.
fn block(language: &str, begins: &str) -> String {
    let document = include_str!("../../../../docs/sagas.md");
    document
        .split("```")
        .skip(1)
        .step_by(2)
        .filter_map(|block| block.strip_prefix(language)?.strip_prefix('\n'))
        .find(|block| block.starts_with(begins))
        .unwrap_or_else(|| panic!("no {language} block begins with {begins}"))
        .to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newcomer_who_follows_the_document_has_a_saga_of_their_own() {
    let python = python();
    let mut me = Newcomer::new("python-participant").await;
    let example = me.example.clone();
    me.example = me.folder.path().to_owned();
    let write = |name: &str, text: &str| std::fs::write(example_path(&me, name), text).unwrap();
    std::fs::create_dir_all(example_path(&me, "proto/acme/cafe/v1")).unwrap();
    write("proto/acme/cafe/v1/cafe.proto", &block("proto", "syntax"));
    write("VISIT.yaml", &block("yaml", "saga: VISIT"));
    write("evenkeel.toml", &block("toml", "[saga.participants"));
    for file in ["barrier.py", "wire.py"] {
        std::fs::copy(example.join(file), example_path(&me, file)).unwrap();
    }
    let travel = std::fs::read_to_string(example.join("participant.py")).unwrap();
    let (head, rest) = travel.split_once("SERVICE = ").unwrap();
    let (_, wiring) = rest.split_once("# The wiring").unwrap();
    let own = block("python", "SERVICE");
    write("participant.py", &format!("{head}{own}\n# The wiring{wiring}"));

    let proto = "proto/acme/cafe/v1/cafe.proto";
    me.does(&["proto", "compile", proto, "--out", "cafe.binpb"]);
    let mut cafe = me.command(&python);
    cafe.args(["participant.py", "--descriptors", "cafe.binpb"]);
    cafe.args(["--database", "cafe.db", "--listen", "127.0.0.1:0"]);
    me.start(cafe, "127.0.0.1:7193").await;
    me.register("VISIT.yaml");

    let visit = |id: &str, drink: &str| format!(r#"{{"visit_id": "{id}", "seats": 2, "drink": "{drink}"}}"#);
    let ended = me.run_saga("VISIT", "v-1", &visit("v-1", "espresso"));
    assert_eq!(ended, (Some(0), "COMPLETED".to_owned()));
    let ended = me.run_saga("VISIT", "v-2", &visit("v-2", "tea"));
    assert_eq!(ended, (Some(1), "COMPENSATED".to_owned()));
}

fn example_path(me: &Newcomer, name: &str) -> PathBuf {
    me.folder.path().join(name)
}

#[test]
fn the_python_barrier_keeps_the_rules() {
    let tests = Command::new("python3")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .args(["-m", "unittest", "-q"])
        .current_dir(Path::new(EXAMPLES).join("python-participant"))
        .output()
        .expect("python3 is there; deploy/ensure-python-grpc.sh says how");
    assert!(
        tests.status.success(),
        "{}",
        String::from_utf8_lossy(&tests.stderr)
    );
}
