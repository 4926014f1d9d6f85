//! Temporary directories that vanish with the process that made them.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use uuid::Uuid;

/// Waits for end-of-file on stdin, that is for the end of the process that made the directory; then for at most 10 s for
/// a server in it to end; then removes it.
const CLEANER: &str = r#"
read -r _
n=0
while { [ -e "$1/pg/cluster/postmaster.pid" ] || [ -e "$1/broker/group" ]; } && [ "$n" -lt 200 ]; do sleep 0.05; n=$((n+1)); done
rm -rf -- "$1"
"#;

/// A directory under the system's temporary directory which other users may search (0755), as a Postgres server started
/// by root needs. It is removed when this value is dropped, or when the process ends in any way.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    cleaner: Child,
}

impl Scratch {
    /// Makes an empty directory.
    ///
    /// # Errors
    /// The directory cannot be made or `/bin/sh` cannot be run.
    pub fn new() -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("evenkeel-{}", Uuid::new_v4().simple()));
        DirBuilder::new().mode(0o755).create(&path)?;
        let cleaner = Command::new("/bin/sh")
            .args(["-c", CLEANER, "scratch-cleaner"])
            .arg(&path)
            .stdin(Stdio::piped())
            // A test runner waits for everybody who holds its stdout.
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn();
        match cleaner {
            Ok(cleaner) => Ok(Self { path, cleaner }),
            Err(error) => {
                fs::remove_dir(&path)?;
                Err(error)
            }
        }
    }

    /// Returns the directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns where a private broker belongs, so that the removal waits for its end.
    pub(crate) fn broker_dir(&self) -> PathBuf {
        self.path.join("broker")
    }

    /// Returns where a private server belongs, so that the removal waits for its end.
    #[must_use]
    pub fn postgres_dir(&self) -> PathBuf {
        self.path.join("pg")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(self.cleaner.stdin.take());
        if let Err(error) = self.cleaner.wait() {
            eprintln!("cannot wait for the removal of {}: {error}", self.path.display());
        }
    }
}
