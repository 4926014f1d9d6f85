//! `TRIP` of the example `python-participant`: a travel agency.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::json;
use test_support::{ChildProcess, Scratch};

use e2e::{LONG, Platform};

use crate::generic::{Started, Subject};

const PACKAGE: &str = "acme.travel.v1";
const DOMAIN: &str = "travel.acme";
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

pub(crate) struct Trip {
    next: AtomicU32,
    python: PathBuf,
    folder: Scratch,
    _agency: ChildProcess,
}

/// A python3 with grpcio, or the end of the test with what to do.
fn python() -> PathBuf {
    let found = Command::new(format!("{ROOT}/deploy/ensure-python-grpc.sh"))
        .arg("--find")
        .output()
        .expect("the script runs");
    assert!(
        found.status.success(),
        "the Python example was NOT tested: run deploy/ensure-python-grpc.sh"
    );
    PathBuf::from(String::from_utf8_lossy(&found.stdout).trim())
}

impl Subject for Trip {
    const SAGA: &'static str = "TRIP";

    async fn prepare(platform: &mut Platform) -> Self {
        let folder = Scratch::new().expect("a directory can be made");
        let descriptors = e2e::descriptors("examples/python-participant/proto/acme/travel/v1/travel.proto");
        std::fs::write(folder.path().join("travel.binpb"), &descriptors).expect("it can be written");
        let python = python();
        let mut agency = Command::new(&python);
        agency
            .current_dir(folder.path())
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .arg(format!("{ROOT}/examples/python-participant/participant.py"))
            .args(["--descriptors", "travel.binpb", "--listen", "127.0.0.1:0"]);
        let agency = ChildProcess::spawn(agency);
        let line = agency
            .wait_for_line(LONG, |line| line.contains(" listens on "))
            .await;
        let address = line.rsplit(' ').next().expect("an address");
        platform.foreign_participant(PACKAGE, format!("http://{address}"), DOMAIN, &descriptors);
        Self {
            next: AtomicU32::new(0),
            python,
            folder,
            _agency: agency,
        }
    }

    fn domains() -> BTreeMap<String, String> {
        [(PACKAGE.to_owned(), DOMAIN.to_owned())].into()
    }

    fn definition() -> Option<String> {
        Some(include_str!("../../../../../examples/python-participant/TRIP.yaml").to_owned())
    }

    fn next(&self) -> Started {
        let trip = format!("trip-{}", self.next.fetch_add(1, Ordering::Relaxed));
        let input = json!({ "tripId": trip, "city": "Lisbon" });
        Started {
            business_id: trip,
            input,
        }
    }

    /// A trip has a hotel, a flight and tickets, or nothing.
    async fn assert_settled(&self, _: &Platform) {
        let look = "import sqlite3; print(sqlite3.connect('travel.db').execute(\
             'select count(*) from (select trip_id from booking group by trip_id having count(*) <> 3)').fetchone()[0])";
        let books = Command::new(&self.python)
            .current_dir(self.folder.path())
            .args(["-c", look])
            .output()
            .expect("it runs");
        assert_eq!(
            String::from_utf8_lossy(&books.stdout).trim(),
            "0",
            "a trip is half booked"
        );
    }
}
