//! Messages in hand: one key after the other, different keys at the same time.

use std::collections::{HashMap, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{Delivery, Shared};
use crate::cloudevent::{self, DecodeError};
use crate::{Received, handler};

/// A message that can be handled, or not be read.
struct Work {
    delivery: Delivery,
    received: Result<Received, DecodeError>,
}

/// Bounded by the prefetch: the consumer takes no more than it has room for.
pub(super) struct Lanes {
    shared: Arc<Shared>,
    /// Each ends with the key of its message; `None` if it had none.
    tasks: JoinSet<Option<String>>,
    /// Messages whose key is being handled, in order. An entry without messages says that its key is.
    waiting: HashMap<String, VecDeque<Work>>,
    held: usize,
    gone: CancellationToken,
}

impl Lanes {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            tasks: JoinSet::new(),
            waiting: HashMap::new(),
            held: 0,
            gone: CancellationToken::new(),
        }
    }

    /// Messages in hand.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    pub(super) fn extend(&mut self, deliveries: Vec<Delivery>) {
        for delivery in deliveries {
            self.held += 1;
            let work = Work {
                received: cloudevent::decode(&delivery.body),
                delivery,
            };
            let key = work
                .received
                .as_ref()
                .ok()
                .and_then(|received| received.key.clone());
            match key.as_ref().and_then(|key| self.waiting.get_mut(key)) {
                Some(line) => line.push_back(work),
                None => self.start(key, work),
            }
        }
    }

    fn start(&mut self, key: Option<String>, work: Work) {
        if let Some(key) = &key {
            self.waiting.entry(key.clone()).or_default();
        }
        let (shared, gone) = (Arc::clone(&self.shared), self.gone.clone());
        self.tasks.spawn(async move {
            let received = work.received.as_ref().map_err(ToString::to_string);
            let received = received.as_ref().copied().map_err(String::as_str);
            let settled = AssertUnwindSafe(shared.settle(&work.delivery, received, &gone)).catch_unwind();
            if settled.await.is_err() {
                tracing::error!(
                    queue = shared.queue,
                    "settling a message panicked; it comes again"
                );
            }
            key
        });
    }

    /// Waits until a message has left our hands, and starts the next of its key. May be given up at any moment.
    pub(super) async fn settled(&mut self) {
        let Some(ended) = self.tasks.join_next().await else {
            return;
        };
        self.held = self.held.saturating_sub(1);
        // A task ends with its key even if it panics, and nobody aborts it.
        let Ok(Some(key)) = ended else { return };
        let next = self.waiting.get_mut(&key).and_then(VecDeque::pop_front);
        match next {
            Some(work) => self.start(Some(key), work),
            None => {
                self.waiting.remove(&key);
            }
        }
    }

    /// Lets what runs end its attempt, and gives back everything else.
    pub(super) async fn end(mut self) {
        self.gone.cancel();
        let waiting = std::mem::take(&mut self.waiting);
        for work in waiting.into_values().flatten() {
            if let Err(error) = work.delivery.receipt.release().await {
                tracing::debug!(
                    queue = self.shared.queue,
                    error = handler::chain(&error),
                    "not given back"
                );
            }
        }
        while self.tasks.join_next().await.is_some() {}
    }
}
