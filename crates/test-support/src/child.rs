//! Child processes whose output is kept and which can be paused and killed.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::Pid;
use tokio::time::Instant;

/// Lines kept of each stream; further ones are read and thrown away, so that the child never blocks on a full pipe.
const MAX_LINES: usize = 100_000;
/// Pause between two looks at a process or its output.
const POLL: Duration = Duration::from_millis(10);

/// A signal for [`signal`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Ends the process at once; it cannot be caught.
    Kill,
    /// Pauses the process; it cannot be caught.
    Stop,
    /// Continues a paused process.
    Cont,
    /// Asks the process to end.
    Term,
    /// What Ctrl-C sends.
    Int,
}

/// Sends `signal` to the process `pid`, for example to a postmaster.
///
/// # Panics
/// If there is no such process.
pub fn signal(pid: u32, signal: Signal) {
    use rustix::process::Signal as Raw;
    let raw = match signal {
        Signal::Kill => Raw::KILL,
        Signal::Stop => Raw::STOP,
        Signal::Cont => Raw::CONT,
        Signal::Term => Raw::TERM,
        Signal::Int => Raw::INT,
    };
    let target = i32::try_from(pid)
        .ok()
        .and_then(Pid::from_raw)
        .expect("a process id is a positive number");
    rustix::process::kill_process(target, raw)
        .unwrap_or_else(|error| panic!("cannot signal process {pid}: {error}"));
}

type Lines = Arc<Mutex<Vec<String>>>;

/// A running command. Killed when dropped. If the test process itself is killed, the child stays.
#[derive(Debug)]
pub struct ChildProcess {
    child: Child,
    stdout: Lines,
    stderr: Lines,
}

impl ChildProcess {
    /// Starts `command` with empty stdin; its output is kept in memory, up to 100,000 lines a stream.
    ///
    /// # Panics
    /// If the program cannot be run.
    #[must_use]
    pub fn spawn(mut command: Command) -> Self {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
        let stdout = keep(child.stdout.take().expect("stdout is a pipe"));
        let stderr = keep(child.stderr.take().expect("stderr is a pipe"));
        Self {
            child,
            stdout,
            stderr,
        }
    }

    /// Returns the process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// If the process was waited for already.
    pub fn signal(&self, which: Signal) {
        signal(self.pid(), which);
    }

    /// Returns the lines of stdout so far.
    #[must_use]
    pub fn stdout(&self) -> Vec<String> {
        lines(&self.stdout)
    }

    /// Returns the lines of stderr so far.
    #[must_use]
    pub fn stderr(&self) -> Vec<String> {
        lines(&self.stderr)
    }

    /// Waits for a line on stdout or stderr for which `matches` is true, and returns it.
    ///
    /// # Panics
    /// If there is none within `deadline`; the text holds all output.
    pub async fn wait_for_line(&self, deadline: Duration, matches: impl Fn(&str) -> bool) -> String {
        let end = Instant::now() + deadline;
        loop {
            if let Some(line) = self
                .stdout()
                .into_iter()
                .chain(self.stderr())
                .find(|line| matches(line))
            {
                return line;
            }
            assert!(
                Instant::now() < end,
                "no such line within {deadline:?}\n{}",
                self.output()
            );
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits for the end of the process.
    ///
    /// # Panics
    /// If it does not end within `deadline`; the text holds all output.
    pub async fn wait(&mut self, deadline: Duration) -> ExitStatus {
        let end = Instant::now() + deadline;
        loop {
            if let Some(status) = self.try_wait() {
                return status;
            }
            assert!(
                Instant::now() < end,
                "still running after {deadline:?}\n{}",
                self.output()
            );
            tokio::time::sleep(POLL).await;
        }
    }

    /// Returns how the process ended, `None` while it runs.
    ///
    /// # Panics
    /// If the system cannot tell.
    pub fn try_wait(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be waited for")
    }

    fn output(&self) -> String {
        format!(
            "--- stdout\n{}\n--- stderr\n{}",
            self.stdout().join("\n"),
            self.stderr().join("\n")
        )
    }
}

impl Drop for ChildProcess {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads `stream` to its end on a thread of its own.
fn keep(stream: impl Read + Send + 'static) -> Lines {
    let lines = Lines::default();
    let kept = Arc::clone(&lines);
    std::thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        let mut bytes = Vec::new();
        while matches!(reader.read_until(b'\n', &mut bytes), Ok(1..)) {
            let mut lines = kept.lock().unwrap_or_else(PoisonError::into_inner);
            if lines.len() < MAX_LINES {
                lines.push(
                    String::from_utf8_lossy(&bytes)
                        .trim_end_matches(['\n', '\r'])
                        .to_owned(),
                );
            }
            bytes.clear();
        }
    });
    lines
}

fn lines(of: &Lines) -> Vec<String> {
    of.lock().unwrap_or_else(PoisonError::into_inner).clone()
}
