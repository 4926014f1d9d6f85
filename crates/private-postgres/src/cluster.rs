//! The data directory: lock, initdb, `postmaster.pid`, log.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::{Pid, test_kill_process};

use crate::account::Account;
use crate::{Binaries, Error, SUPERUSER};

/// Lines of a log that an error quotes.
const TAIL_LINES: usize = 15;
/// What a data directory of this crate contains.
const OURS: [&str; 5] = ["cluster", "cluster.init", "server.log", "server.log.old", "lock"];

/// The data directory and who may use it.
#[derive(Debug, Clone)]
pub(crate) struct Cluster {
    home: PathBuf,
    pub(crate) account: Option<Account>,
}

/// What `postmaster.pid` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Postmaster {
    pub(crate) pid: u32,
    pub(crate) port: u16,
    pub(crate) ready: bool,
}

impl Cluster {
    /// Creates the directory if absent and checks that the server's user can reach it.
    pub(crate) fn prepare(data_dir: &Path) -> Result<Self, Error> {
        let account = Account::for_server()?;
        fs::create_dir_all(data_dir).map_err(Error::io("create", data_dir))?;
        let home = fs::canonicalize(data_dir).map_err(Error::io("resolve", data_dir))?;
        if let Some(account) = &account {
            // A directory with foreign content keeps its owner.
            if holds_only_ours(&home)? {
                account.own(&home)?;
            }
            account.check_reach(&home)?;
        }
        Ok(Self { home, account })
    }

    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    pub(crate) fn dir(&self) -> PathBuf {
        self.home.join("cluster")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.home.join("server.log")
    }

    /// Takes the owner's lock, or returns `None` while another process (or another value in this one) has it.
    pub(crate) fn try_lock(&self) -> Result<Option<File>, Error> {
        let path = self.home.join("lock");
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(Error::io("open", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(source)) => Err(Error::io("lock", &path)(source)),
        }
    }

    /// Chooses the binaries that fit the data, the newest if there is none yet.
    pub(crate) fn choose(&self, mut found: Vec<Binaries>) -> Result<Binaries, Error> {
        let path = self.dir().join("PG_VERSION");
        let version = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found.swap_remove(0)),
            Err(error) => return Err(Error::io("read", &path)(error)),
        };
        let data_version = version.trim().parse().unwrap_or(0);
        match found.iter().position(|b| b.major == data_version) {
            Some(index) => Ok(found.swap_remove(index)),
            None => Err(Error::Version {
                data_dir: self.home.clone(),
                data_version,
                found: found.iter().map(|b| b.major).collect(),
            }),
        }
    }

    /// Runs initdb if there is no data yet. It works in a directory of its own that is renamed at the end, so that an
    /// interrupted initdb is never taken for data. Call it with the lock held.
    pub(crate) fn init(&self, binaries: &Binaries, fsync: bool) -> Result<(), Error> {
        let dir = self.dir();
        if dir.exists() {
            return Ok(());
        }
        let half = self.home.join("cluster.init");
        if half.exists() {
            fs::remove_dir_all(&half).map_err(Error::io("remove", &half))?;
        }
        let mut command = Command::new(binaries.initdb());
        command
            .args(["-U", SUPERUSER, "--auth=trust", "-E", "UTF8", "--locale=C", "-D"])
            .arg(&half)
            .current_dir(&self.home)
            .stdin(Stdio::null());
        if !fsync {
            command.arg("--no-sync");
        }
        if let Some(account) = &self.account {
            account.apply(&mut command);
        }
        let output = command.output().map_err(Error::io("run", &binaries.initdb()))?;
        if !output.status.success() {
            let text = [output.stdout, output.stderr].concat();
            return Err(Error::Initdb {
                data_dir: self.home.clone(),
                output: last_lines(&String::from_utf8_lossy(&text)),
            });
        }
        fs::rename(&half, &dir).map_err(Error::io("rename", &half))
    }

    /// Reads `postmaster.pid`; `None` if absent or if the process it names is gone or not a server of this directory.
    pub(crate) fn postmaster(&self) -> Option<Postmaster> {
        let text = fs::read_to_string(self.dir().join("postmaster.pid")).ok()?;
        let postmaster = parse_pid_file(&text)?;
        self.is_ours(postmaster.pid).then_some(postmaster)
    }

    /// Says whether `pid` is a living server of this directory: a server's working directory is its data directory.
    pub(crate) fn is_ours(&self, pid: u32) -> bool {
        is_alive(pid) && fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == self.dir())
    }

    /// Opens an empty log, keeping the one of the previous run as `server.log.old`.
    pub(crate) fn fresh_log(&self) -> Result<File, Error> {
        let path = self.log();
        if path.exists() {
            fs::rename(&path, self.home.join("server.log.old")).map_err(Error::io("rename", &path))?;
        }
        let file = File::create(&path).map_err(Error::io("create", &path))?;
        if let Some(account) = &self.account {
            account.own(&path)?;
        }
        Ok(file)
    }

    pub(crate) fn log_tail(&self) -> String {
        let text = fs::read(self.log()).unwrap_or_default();
        last_lines(&String::from_utf8_lossy(&text))
    }
}

/// Says whether `dir` has nothing but files of this crate. An empty one is ours, too.
fn holds_only_ours(dir: &Path) -> Result<bool, Error> {
    let mut entries = fs::read_dir(dir).map_err(Error::io("list", dir))?;
    Ok(entries.all(|entry| entry.is_ok_and(|e| OURS.iter().any(|name| e.file_name() == *name))))
}

fn is_alive(pid: u32) -> bool {
    match to_pid(pid) {
        // EPERM means that it lives and belongs to somebody else.
        Some(pid) => !matches!(test_kill_process(pid), Err(rustix::io::Errno::SRCH)),
        None => false,
    }
}

/// Converts a process id from a file; `None` for 0 and for numbers no process has.
pub(crate) fn to_pid(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}

/// Reads the lines pid, data directory, start time, port, socket directory, address, shared memory, state.
fn parse_pid_file(text: &str) -> Option<Postmaster> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    Some(Postmaster {
        pid: lines.first()?.parse().ok()?,
        port: lines.get(3)?.parse().ok()?,
        ready: lines.get(7).is_some_and(|state| *state == "ready"),
    })
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_file_tells_pid_port_and_state() {
        let text = "1234\n/data\n1700000000\n5544\n\n127.0.0.1\n  123 0\nready   \n";
        assert_eq!(
            parse_pid_file(text),
            Some(Postmaster {
                pid: 1234,
                port: 5544,
                ready: true
            })
        );
        let starting = text.replace("ready   ", "starting");
        assert_eq!(
            parse_pid_file(&starting),
            Some(Postmaster {
                pid: 1234,
                port: 5544,
                ready: false
            })
        );
        assert_eq!(parse_pid_file("1234\n/data\n"), None);
        assert_eq!(parse_pid_file(""), None);
    }

    #[test]
    fn the_tail_keeps_the_last_lines() {
        let text: String = (0..40).map(|n| format!("{n}\n")).collect();
        assert!(last_lines(&text).starts_with("25\n"));
        assert_eq!(last_lines("one"), "one");
    }

    #[test]
    fn no_process_has_the_id_zero() {
        assert!(!is_alive(0));
        assert!(!is_alive(u32::MAX));
        assert!(is_alive(std::process::id()));
    }
}
