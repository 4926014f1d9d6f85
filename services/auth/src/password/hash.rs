//! bcrypt on threads of its own: a hash takes a quarter of a second of a processor.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Deserialize;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use super::Password;
use super::policy::MAX_BYTES;

/// Waiting for a processor, for each that works; more are refused, so that a flood of logins cannot queue for minutes.
const WAITING_PER_WORKER: usize = 32;

/// Settings of password hashing.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Cost of new hashes, as a power of 2: 10 to 15. Hashes of a lower cost are made anew at the next login.
    pub cost: u32,
    /// Hashes that are computed at once; 0 for as many as there are processors.
    pub workers: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { cost: 12, workers: 0 }
    }
}

/// Why a password was not hashed or compared.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Too many wait already. Nothing was done.
    #[error("too many passwords are being checked")]
    Busy,
    /// The settings are not usable.
    #[error("auth.password: {0}")]
    Config(String),
    /// What is stored is not a bcrypt hash.
    #[error("the stored hash is damaged")]
    Damaged(#[source] bcrypt::BcryptError),
    /// The thread was lost.
    #[error("the hashing thread ended")]
    Thread(#[source] tokio::task::JoinError),
}

/// Hashes passwords and compares them. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Passwords(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    cost: u32,
    working: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    /// Hash of nothing anybody knows, for users that do not exist.
    dummy: String,
    computed: AtomicU64,
}

impl Passwords {
    /// Makes the pool. Computes one hash, which takes as long as a login.
    ///
    /// # Errors
    /// The cost is out of its range.
    pub fn new(config: &Config) -> Result<Self, Error> {
        // Tests of other things cannot wait for real costs; nobody else can ask for less.
        let lowest = if cfg!(debug_assertions) { 4 } else { 10 };
        if !(lowest..=15).contains(&config.cost) {
            return Err(Error::Config(format!(
                "cost must be 10 to 15, not {}",
                config.cost
            )));
        }
        let workers = match config.workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            workers => workers.min(256),
        };
        let unknown = uuid::Uuid::new_v4().simple().to_string();
        let dummy = bcrypt::non_truncating_hash(unknown, config.cost).map_err(Error::Damaged)?;
        Ok(Self(Arc::new(Inner {
            cost: config.cost,
            working: Arc::new(Semaphore::new(workers)),
            waiting: Arc::new(Semaphore::new(workers * (1 + WAITING_PER_WORKER))),
            dummy,
            computed: AtomicU64::new(0),
        })))
    }

    /// Hashes a password that is to be set.
    ///
    /// # Errors
    /// [`Error::Busy`], or the thread was lost.
    pub async fn hash(&self, password: &Password) -> Result<String, Error> {
        let (password, cost) = (password.clone(), self.0.cost);
        // A `Password` has at most the 72 bytes that bcrypt reads, so nothing is cut off; `non_truncating_hash` counts the
        // NUL it appends and would refuse the longest.
        self.compute(move || bcrypt::hash(password.text(), cost))
            .await?
            .map_err(Error::Damaged)
    }

    /// Compares what somebody typed with a stored hash.
    ///
    /// # Errors
    /// [`Error::Busy`], a damaged hash, or the thread was lost.
    pub async fn verify(&self, typed: &str, hash: &str) -> Result<bool, Error> {
        // bcrypt would cut off what is longer, and reads a password with a NUL behind it again and again, so that it takes
        // "a\0a" for "a". Neither was ever set; both cost as much as any other.
        let may_be_right = typed.len() <= MAX_BYTES && !typed.contains('\0');
        let typed = Zeroizing::new(if may_be_right { typed } else { "" }.to_owned());
        let hash = hash.to_owned();
        let same = self
            .compute(move || bcrypt::verify(typed.as_bytes(), &hash))
            .await?
            .map_err(Error::Damaged)?;
        Ok(same && may_be_right)
    }

    /// Does the work of [`verify`](Self::verify) for a user that does not exist, or has no password.
    ///
    /// # Errors
    /// As [`verify`](Self::verify).
    pub async fn verify_nobody(&self, typed: &str) -> Result<(), Error> {
        let dummy = self.0.dummy.clone();
        self.verify(typed, &dummy).await.map(drop)
    }

    /// Tells whether a stored hash is cheaper than new ones.
    #[must_use]
    pub fn needs_rehash(&self, hash: &str) -> bool {
        cost_of(hash).is_none_or(|cost| cost < self.0.cost)
    }

    /// Hashes computed so far. Equal work is counted, not timed.
    #[must_use]
    pub fn computed(&self) -> u64 {
        self.0.computed.load(Ordering::SeqCst)
    }

    async fn compute<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let place = Arc::clone(&self.0.waiting)
            .try_acquire_owned()
            .map_err(|_| Error::Busy)?;
        let worker = Arc::clone(&self.0.working)
            .acquire_owned()
            .await
            .map_err(|_| Error::Busy)?;
        self.0.computed.fetch_add(1, Ordering::SeqCst);
        // The places are held by the thread: a caller that leaves does not make room while it still computes.
        tokio::task::spawn_blocking(move || {
            let done = work();
            drop((worker, place));
            done
        })
        .await
        .map_err(Error::Thread)
    }
}

/// Cost in a hash of the form `$2b$12$…`.
fn cost_of(hash: &str) -> Option<u32> {
    hash.split('$').nth(2)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passwords(cost: u32, workers: usize) -> Passwords {
        Passwords::new(&Config { cost, workers }).unwrap()
    }

    #[tokio::test]
    async fn a_password_is_recognized_and_another_is_not() {
        let passwords = passwords(4, 2);
        let chosen = Password::chosen("天地玄黄宇宙洪荒").unwrap();
        let hash = passwords.hash(&chosen).await.unwrap();
        assert!(passwords.verify("天地玄黄宇宙洪荒", &hash).await.unwrap());
        for wrong in ["", "天地玄黄宇宙洪", "天地玄黄宇宙洪荒 "] {
            assert!(!passwords.verify(wrong, &hash).await.unwrap(), "{wrong:?}");
        }
    }

    /// Samples of pyca/bcrypt (tests/test_bcrypt.py, Apache-2.0).
    #[tokio::test]
    async fn hashes_made_by_others_are_read() {
        let passwords = passwords(4, 2);
        for (password, hash) in [
            (
                "Kk4DQuMMfZL9o",
                "$2b$04$cVWp4XaNU8a4v1uMRum2SO026BWLIoQMD/TXg5uZV.0P.uO8m3YEm",
            ),
            (
                "9IeRXmnGxMYbs",
                "$2b$04$pQ7gRO7e6wx/936oXhNjrOUNOHL1D0h1N2IDbJZYs.1ppzSof6SPy",
            ),
            (
                "U*U",
                "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
            ),
            (
                "U*U*U",
                "$2a$05$XXXXXXXXXXXXXXXXXXXXXOAcXxm9kjPGEMsLznoKqmqw7tc8WCx4a",
            ),
        ] {
            assert!(passwords.verify(password, hash).await.unwrap());
            let wrong = format!("{password}.");
            assert!(!passwords.verify(&wrong, hash).await.unwrap());
        }
    }

    #[tokio::test]
    async fn what_bcrypt_would_not_read_is_not_taken_for_read() {
        let passwords = passwords(4, 2);
        let longest = "é".repeat(36);
        let hash = passwords
            .hash(&Password::chosen(&longest).unwrap())
            .await
            .unwrap();
        assert!(passwords.verify(&longest, &hash).await.unwrap());
        assert!(!passwords.verify(&format!("{longest}x"), &hash).await.unwrap());
    }

    #[tokio::test]
    async fn a_password_with_a_nul_is_not_taken_for_what_stands_before_it() {
        let passwords = passwords(4, 2);
        let chosen = "a good password";
        let hash = passwords.hash(&Password::chosen(chosen).unwrap()).await.unwrap();
        let repeated = format!("{chosen}\0{chosen}");
        assert!(!passwords.verify(&repeated, &hash).await.unwrap());
        assert!(passwords.verify(chosen, &hash).await.unwrap());
    }

    #[tokio::test]
    async fn nobody_costs_as_much_as_somebody() {
        let passwords = passwords(4, 2);
        let before = passwords.computed();
        passwords.verify_nobody("whatever it is").await.unwrap();
        assert_eq!(passwords.computed() - before, 1);
        assert_eq!(cost_of(&passwords.0.dummy), Some(4));
    }

    #[tokio::test]
    async fn a_cheaper_hash_is_to_be_made_anew() {
        let old = passwords(4, 1);
        let hash = old
            .hash(&Password::chosen("a good password").unwrap())
            .await
            .unwrap();
        assert!(!old.needs_rehash(&hash));
        assert!(passwords(5, 1).needs_rehash(&hash));
        assert!(old.needs_rehash("not a hash"));
        assert!(old.verify("x", "not a hash").await.is_err());
    }

    #[tokio::test]
    async fn a_flood_is_refused_instead_of_queued() {
        let passwords = passwords(4, 1);
        let tried = (0..500).map(|_| passwords.verify_nobody("flood"));
        let answers = futures::future::join_all(tried).await;
        let busy = answers.iter().filter(|a| matches!(a, Err(Error::Busy))).count();
        assert!(busy > 0 && busy < 500, "{busy}");
        assert!(answers.iter().all(|a| matches!(a, Ok(()) | Err(Error::Busy))));
        passwords.verify_nobody("after it").await.unwrap();
    }

    #[test]
    fn a_cost_out_of_range_is_refused() {
        assert!(Passwords::new(&Config { cost: 16, workers: 0 }).is_err());
        assert!(Passwords::new(&Config { cost: 3, workers: 0 }).is_err());
    }
}
