//! The certificate of a process, as it is now.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use rustls_pki_types::ServerName;
use tokio_util::sync::CancellationToken;

use crate::config::{CERTIFICATE, Config, Paths};
use crate::error::{Error, Problem};
use crate::leaf::Leaf;
use crate::material::{self, Contents, Material};
use crate::metric;

/// The certificate with which a service answers and calls, and whom it believes. Clones are the same: a change of the files
/// reaches all of them, and with them every handshake from then on.
#[derive(Debug, Clone)]
pub struct Mutual(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    service: String,
    paths: Paths,
    reload: Duration,
    current: ArcSwap<Material>,
}

/// Which name the certificate of a server must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// This one: the host of the URL.
    Host(ServerName<'static>),
    /// The first name of the own certificate: the server is this process, or another of the same service.
    Own,
}

impl Mutual {
    /// Reads and checks the files. `service` is the label of metrics and log lines.
    ///
    /// # Errors
    /// [`Error`] names the setting and the file.
    pub fn open(config: &Config, service: &str) -> Result<Self, Error> {
        metric::describe();
        let paths = config.paths()?;
        let contents = Contents::read(&paths)?;
        let material = Material::make(contents, &paths, 0, SystemTime::now())?;
        material::warn_of_open_key(&paths);
        metric::in_use(service, material.leaf.not_after());
        Ok(Self(Arc::new(Shared {
            service: service.to_owned(),
            paths,
            reload: config.reload,
            current: ArcSwap::from_pointee(material),
        })))
    }

    /// Returns what the own certificate says now.
    #[must_use]
    pub fn leaf(&self) -> Leaf {
        self.0.current.load().leaf.clone()
    }

    /// Returns the number of changes so far. Connections that were made before the last one show an earlier certificate.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.0.current.load().generation
    }

    /// Reads the files again whenever they change, until the token is cancelled. What cannot be used is left, said in the
    /// log and counted; the certificate before stays in use.
    pub async fn watch(self, stop: CancellationToken) {
        let mut watcher = Watcher {
            mutual: self,
            state: State::Used,
        };
        loop {
            let pause = tokio::time::sleep(watcher.mutual.0.reload);
            if stop.run_until_cancelled(pause).await.is_none() {
                return;
            }
            // Files on a mount may take their time.
            let looked = tokio::task::spawn_blocking(move || {
                watcher.look(SystemTime::now());
                watcher
            });
            match looked.await {
                Ok(back) => watcher = back,
                // The runtime ends.
                Err(_) => return,
            }
        }
    }

    pub(crate) fn current(&self) -> Arc<Material> {
        self.0.current.load_full()
    }

    pub(crate) fn service(&self) -> &str {
        &self.0.service
    }
}

/// Looks at the files.
struct Watcher {
    mutual: Mutual,
    state: State,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// What was seen at the last look is in use.
    Used,
    /// It cannot be used. It may be half of a change whose other half is being written.
    Suspect,
    /// So it was twice in a row, and has been reported with this text.
    Broken(String),
}

impl Watcher {
    fn look(&mut self, now: SystemTime) {
        let shared = Arc::clone(&self.mutual.0);
        let before = shared.current.load_full();
        let made = Contents::read(&shared.paths).and_then(|contents| {
            let is_same = contents == before.contents;
            (!is_same)
                .then(|| renewal(contents, &shared.paths, &before, now))
                .transpose()
        });
        match made {
            Ok(made) => {
                let until = made.as_ref().unwrap_or(&before).leaf.not_after();
                metric::in_use(&shared.service, until);
                self.state = State::Used;
                if let Some(material) = made {
                    shared.current.store(Arc::new(material));
                    metric::reloaded(&shared.service);
                    tracing::info!(
                        service = shared.service,
                        expires = until,
                        "the certificate files have changed, and are used"
                    );
                }
            }
            Err(error) => self.suspect(&error),
        }
    }

    fn suspect(&mut self, error: &Error) {
        if self.state == State::Used {
            self.state = State::Suspect;
            return;
        }
        let text = error.to_string();
        if self.state == State::Broken(text.clone()) {
            return;
        }
        let shared = &self.mutual.0;
        metric::broken(&shared.service);
        tracing::error!(
            service = shared.service,
            error = text,
            expires = shared.current.load().leaf.not_after(),
            "the certificate files have changed and cannot be used; the ones before are used until they expire"
        );
        self.state = State::Broken(text);
    }
}

/// Makes what replaces `before`, which must be of the same holder.
fn renewal(contents: Contents, paths: &Paths, before: &Material, now: SystemTime) -> Result<Material, Error> {
    let made = Material::make(contents, paths, before.generation + 1, now)?;
    if made.leaf.uris() == before.leaf.uris() {
        return Ok(made);
    }
    let named = |leaf: &Leaf| match leaf.uris() {
        [] => "nobody".to_owned(),
        uris => uris.join(" and "),
    };
    Err(material::about(CERTIFICATE, &paths.certificate)(
        Problem::Renamed {
            new: named(&made.leaf),
            old: named(&before.leaf),
        },
    ))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::authority::{Authority, Issued, Subject};

    const HOUR: Duration = Duration::from_secs(3600);

    fn authority(now: SystemTime) -> Authority {
        Authority::new(now - HOUR, now + HOUR).unwrap()
    }

    fn issue(authority: &Authority, uri: &str, until: SystemTime) -> Issued {
        let subject = Subject {
            uri: Some(uri),
            hosts: &["localhost".to_owned()],
            from: until - 2 * HOUR,
            until,
        };
        authority.issue(&subject).unwrap()
    }

    fn write(dir: &Path, issued: &Issued) {
        fs::write(dir.join("certificate"), &issued.certificate).unwrap();
        fs::write(dir.join("key"), issued.key.as_bytes()).unwrap();
    }

    fn watcher(dir: &Path) -> Watcher {
        let config = Config {
            certificate: Some(dir.join("certificate")),
            key: Some(dir.join("key")),
            trust: Some(dir.join("trust")),
            ..Config::default()
        };
        Watcher {
            mutual: Mutual::open(&config, "task").unwrap(),
            state: State::Used,
        }
    }

    #[test]
    fn files_that_cannot_be_used_never_replace_ones_that_can() {
        let (dir, now) = (tempfile::tempdir().unwrap(), SystemTime::now());
        let (ours, theirs) = (authority(now), authority(now));
        let uri = "spiffe://evenkeel/task";
        let good = issue(&ours, uri, now + HOUR / 2);
        fs::write(dir.path().join("trust"), ours.certificate()).unwrap();
        write(dir.path(), &good);
        let mut watcher = watcher(dir.path());
        let mutual = watcher.mutual.clone();
        let wrong = [
            (issue(&theirs, uri, now + HOUR / 2), "not believed"),
            (issue(&ours, uri, now - HOUR), "expired"),
            (
                issue(&ours, "spiffe://evenkeel/saga", now + HOUR / 2),
                "evenkeel/saga, but",
            ),
        ];
        for (broken, why) in wrong {
            write(dir.path(), &broken);
            watcher.look(now);
            watcher.look(now);
            assert!(
                matches!(&watcher.state, State::Broken(text) if text.contains(why)),
                "{why}"
            );
            assert_eq!(mutual.generation(), 0);
        }
        fs::remove_file(dir.path().join("key")).unwrap();
        watcher.look(now);
        assert!(matches!(&watcher.state, State::Broken(text) if text.contains("tls.key")));
        // The ones in use are back.
        write(dir.path(), &good);
        watcher.look(now);
        assert_eq!((mutual.generation(), &watcher.state), (0, &State::Used));
    }

    #[test]
    fn half_of_a_change_is_waited_for() {
        let (dir, now) = (tempfile::tempdir().unwrap(), SystemTime::now());
        let ours = authority(now);
        let uri = "spiffe://evenkeel/task";
        fs::write(dir.path().join("trust"), ours.certificate()).unwrap();
        write(dir.path(), &issue(&ours, uri, now + HOUR / 2));
        let mut watcher = watcher(dir.path());
        let next = issue(&ours, uri, now + HOUR);
        fs::write(dir.path().join("certificate"), &next.certificate).unwrap();
        watcher.look(now);
        assert_eq!(watcher.state, State::Suspect);
        write(dir.path(), &next);
        watcher.look(now);
        assert_eq!((watcher.mutual.generation(), watcher.state), (1, State::Used));
    }
}
