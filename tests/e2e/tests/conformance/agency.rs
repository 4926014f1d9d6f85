//! The Python example, whole or with a flaw, started and restarted by a shell script.

use std::path::{Path, PathBuf};
use std::process::Command;

use test_support::{Scratch, free_port};

use crate::{EXAMPLES, Report, evenkeel};

/// A text of one of its files, and what stands in its place.
pub(crate) type Flaw<'a> = (&'a str, &'a str, &'a str);

pub(crate) struct Agency {
    pub(crate) folder: Scratch,
    port: u16,
}

/// A python3 with grpcio, or the end of the test with what to do.
fn python() -> PathBuf {
    let script = format!("{EXAMPLES}/../deploy/ensure-python-grpc.sh");
    let found = Command::new(script)
        .arg("--find")
        .output()
        .expect("the script runs");
    assert!(
        found.status.success(),
        "the Python example was NOT tested: run deploy/ensure-python-grpc.sh"
    );
    PathBuf::from(String::from_utf8_lossy(&found.stdout).trim())
}

impl Agency {
    /// Starts the agency; `on_restart` is done before it starts, the first time included.
    pub(crate) fn start(flaw: Option<Flaw<'_>>, on_restart: &str) -> Self {
        let folder = Scratch::new().expect("a directory can be made");
        let port = free_port();
        for file in ["barrier.py", "wire.py", "participant.py"] {
            let path = Path::new(EXAMPLES).join("python-participant").join(file);
            let mut text = std::fs::read_to_string(path).expect("the example is there");
            if let Some((of, old, new)) = flaw
                && of == file
            {
                assert!(text.contains(old), "{file} has no {old:?} any more");
                text = text.replace(old, new);
            }
            std::fs::write(folder.path().join(file), text).expect("the directory can be written");
        }
        let descriptors = e2e::descriptors("examples/python-participant/proto/acme/travel/v1/travel.proto");
        std::fs::write(folder.path().join("travel.binpb"), descriptors)
            .expect("the directory can be written");
        let script = format!(
            "set -e\n\
             if [ -f pid ]; then kill \"$(cat pid)\"; while kill -0 \"$(cat pid)\" 2>/dev/null; do sleep 0.05; done; fi\n\
             {on_restart}\n\
             {} participant.py --descriptors travel.binpb --database travel.db --listen 127.0.0.1:{port} > out 2> err &\n\
             echo $! > pid\n\
             for try in $(seq 400); do if grep -qs listens out; then exit 0; fi; sleep 0.05; done\n\
             exit 1\n",
            python().display()
        );
        std::fs::write(folder.path().join("restart.sh"), script).expect("the directory can be written");
        let agency = Self { folder, port };
        let started = Command::new("sh")
            .arg("restart.sh")
            .current_dir(agency.folder.path())
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .status();
        assert!(
            started.expect("the shell runs").success(),
            "the agency does not start"
        );
        agency
    }

    /// Checks a flight, with a look at the bookings.
    pub(crate) async fn check(&self, more: &[&str]) -> Report {
        let count = "python3 -c 'import sqlite3; \
            print(sqlite3.connect(\"travel.db\").execute(\"select count(*) from booking\").fetchone()[0])'";
        let url = format!("http://127.0.0.1:{}", self.port);
        let mut args = vec![
            "participant",
            "check",
            "--url",
            &url,
            "--error-domain",
            "travel.acme",
        ];
        args.extend(["--descriptors", "travel.binpb"]);
        args.extend(["--action", "acme.travel.v1.TravelSteps/BookFlight"]);
        args.extend(["--request", r#"{"trip_id": "check-{n}", "city": "Lisbon"}"#]);
        args.extend(["--compensation", "acme.travel.v1.TravelSteps/CancelFlight"]);
        args.extend([
            "--refused-request",
            r#"{"trip_id": "check-{n}", "city": "Atlantis"}"#,
        ]);
        args.extend(["--count-cmd", count, "--timeout", "30s"]);
        args.extend(more);
        evenkeel(self.folder.path(), &args).await
    }
}

impl Drop for Agency {
    fn drop(&mut self) {
        // What cannot be killed has ended.
        let _ = Command::new("sh")
            .args(["-c", "kill -9 \"$(cat pid)\""])
            .current_dir(self.folder.path())
            .status();
    }
}
