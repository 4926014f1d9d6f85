//! The keys that users' tokens are signed with, and where they come from.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use proto::auth::v1::GetJwksRequest;
use proto::auth::v1::auth_service_client::AuthServiceClient;
use rpc::channel::Channel;
use tokio::sync::Mutex;
use tonic::Request;

use crate::error::Error;
use crate::keys::{Jwk, KeySet, VerifyingKey};

/// The keys are asked for again after this time, so that one that was withdrawn is not believed for ever.
const REFRESH: Duration = Duration::from_secs(5 * 60);
/// They are asked for at most this often, however many unknown keys come.
const RETRY: Duration = Duration::from_secs(5);
/// Longest wait for the auth service.
const PATIENCE: Duration = Duration::from_secs(3);
/// Largest answer of the auth service, in bytes.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// Where the keys of users' tokens come from. Clones share what was fetched.
#[derive(Debug, Clone)]
pub struct UserKeys(Source);

#[derive(Debug, Clone)]
enum Source {
    Held(Arc<ArcSwap<KeySet>>),
    Fetched(Arc<Fetched>),
}

#[derive(Debug)]
struct Fetched {
    auth: AuthServiceClient<Channel>,
    keys: ArcSwap<KeySet>,
    asked: Mutex<Asked>,
    /// Somebody refreshes in the background.
    refreshing: AtomicBool,
    /// When the keys are due again; beside the lock, so that reading it does not wait for a fetch.
    due: ArcSwap<Option<Instant>>,
}

#[derive(Debug, Default)]
struct Asked {
    at: Option<Instant>,
    answered: bool,
}

impl UserKeys {
    /// Takes keys that this process holds itself: the auth service, which replaces them when it rotates, and tests.
    #[must_use]
    pub fn held(keys: Arc<ArcSwap<KeySet>>) -> Self {
        Self(Source::Held(keys))
    }

    /// Takes a set that never changes.
    #[must_use]
    pub fn fixed(keys: KeySet) -> Self {
        Self::held(Arc::new(ArcSwap::from_pointee(keys)))
    }

    /// Asks the auth service: on the first token, every 5 min, and at once (at most every 5 s) for an unknown key. While it is
    /// away the known keys go on working. Connects to nothing yet.
    #[must_use]
    pub fn fetched(auth: impl Into<Channel>) -> Self {
        let auth = AuthServiceClient::new(auth.into()).max_decoding_message_size(MAX_ANSWER_BYTES);
        Self(Source::Fetched(Arc::new(Fetched {
            auth,
            keys: ArcSwap::default(),
            asked: Mutex::default(),
            refreshing: AtomicBool::new(false),
            due: ArcSwap::default(),
        })))
    }

    /// Finds a key by its id.
    ///
    /// # Errors
    /// `UnknownKey`, or `KeysUnavailable` if the auth service could not be asked whether there is such a key.
    pub(crate) async fn find(&self, kid: &str) -> Result<VerifyingKey, Error> {
        match &self.0 {
            Source::Held(keys) => keys.load().get(kid).cloned().ok_or(Error::UnknownKey),
            Source::Fetched(fetched) => fetched.find(kid).await,
        }
    }
}

impl Fetched {
    async fn find(self: &Arc<Self>, kid: &str) -> Result<VerifyingKey, Error> {
        if let Some(key) = self.known(kid) {
            self.refresh_if_due();
            return Ok(key);
        }
        let mut asked = self.asked.lock().await;
        // Whoever held the lock before may have fetched it.
        if let Some(key) = self.known(kid) {
            return Ok(key);
        }
        if asked.at.is_none_or(|at| at.elapsed() >= RETRY) {
            self.fetch(&mut asked).await;
        }
        match self.known(kid) {
            Some(key) => Ok(key),
            None if asked.answered => Err(Error::UnknownKey),
            None => Err(Error::KeysUnavailable),
        }
    }

    fn known(&self, kid: &str) -> Option<VerifyingKey> {
        self.keys.load().get(kid).cloned()
    }

    fn refresh_if_due(self: &Arc<Self>) {
        let due = self.due.load().is_some_and(|due| due <= Instant::now());
        if !due || self.refreshing.swap(true, Ordering::AcqRel) {
            return;
        }
        let own = Arc::clone(self);
        // Bounded by `PATIENCE`, and one at a time; nobody waits for it.
        tokio::spawn(async move {
            own.fetch(&mut *own.asked.lock().await).await;
            own.refreshing.store(false, Ordering::Release);
        });
    }

    async fn fetch(&self, asked: &mut Asked) {
        let answer = self.ask().await;
        asked.at = Some(Instant::now());
        asked.answered = answer.is_ok();
        let wait = match answer {
            Ok(keys) => {
                self.keys.store(Arc::new(keys));
                REFRESH
            }
            Err(error) => {
                tracing::warn!(
                    error,
                    "the keys of users' tokens cannot be fetched; those that are known go on working"
                );
                RETRY
            }
        };
        self.due.store(Arc::new(Some(Instant::now() + wait)));
    }

    async fn ask(&self) -> Result<KeySet, String> {
        let mut request = Request::new(GetJwksRequest {});
        request.set_timeout(PATIENCE);
        let mut auth = self.auth.clone();
        // The deadline in the request does not cover connecting.
        let answer = tokio::time::timeout(PATIENCE, auth.get_jwks(request))
            .await
            .map_err(|_| "no answer in time".to_owned())?
            .map_err(|status| format!("{}: {}", rpc::error::code_name(status.code()), status.message()))?;
        KeySet::new(
            answer
                .into_inner()
                .keys
                .into_iter()
                .map(Jwk::from)
                .collect::<Vec<_>>(),
        )
        .map_err(|error| error.to_string())
    }
}
