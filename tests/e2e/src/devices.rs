//! The allocator of devices of a platform, a process of its own.

use doubles::allocator::{Books, Rule};
use test_support::ChildProcess;

use crate::platform::{LONG, Platform};

/// It ends when this is dropped.
#[derive(Debug)]
pub struct Devices {
    _process: ChildProcess,
    client: reqwest::Client,
    url: String,
}

impl Platform {
    /// Starts an allocator with so many devices, on the database and the broker of the platform.
    pub async fn open_devices(&self, devices: u32) -> Devices {
        let devices = devices.to_string();
        let process = ChildProcess::spawn(self.command(&[
            "doubles",
            "devices",
            "--listen",
            "127.0.0.1:0",
            "--devices",
            &devices,
            "--json",
        ]));
        let line = process.wait_for_line(LONG, |line| line.contains("\"url\"")).await;
        let said: serde_json::Value = serde_json::from_str(&line).expect("it is JSON");
        Devices {
            _process: process,
            client: reqwest::Client::new(),
            url: said["url"].as_str().expect("a URL").to_owned(),
        }
    }
}

impl Devices {
    /// Replaces the programme.
    pub async fn program(&self, rules: &[Rule]) {
        let set = self.client.put(format!("{}/_program", self.url)).json(rules);
        let set = set.send().await.and_then(reqwest::Response::error_for_status);
        set.expect("the programme is taken");
    }

    /// Shows the books.
    pub async fn books(&self) -> Books {
        let shown = self.client.get(format!("{}/_books", self.url)).send().await;
        let shown = shown.expect("it answers").json().await;
        shown.expect("these are books")
    }
}
