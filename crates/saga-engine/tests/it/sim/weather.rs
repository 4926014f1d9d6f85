//! What can happen to a host: its clock is set, it stands still, it is cut off, its connections are slow.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use saga_core::Millis;
use saga_engine::Clock;

use super::dice::Dice;
use crate::world::VirtualClock;

/// One replica's host, whatever process runs on it.
#[derive(Debug, Clone)]
pub(super) struct Host(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    true_time: VirtualClock,
    /// By how much its clock is wrong, in milliseconds.
    offset_ms: AtomicI64,
    /// Until when it does not reach the disk, does not reach the participants, and is slow.
    no_disk_until: AtomicI64,
    no_calls_until: AtomicI64,
    slow_until: AtomicI64,
}

impl Host {
    pub(super) fn new(true_time: VirtualClock) -> Self {
        let never = || AtomicI64::new(i64::MIN);
        Self(Arc::new(Inner {
            true_time,
            offset_ms: AtomicI64::new(0),
            no_disk_until: never(),
            no_calls_until: never(),
            slow_until: never(),
        }))
    }

    fn until(&self, ms: u32) -> i64 {
        self.0.true_time.now().plus(ms.into()).0
    }

    fn is_before(&self, until: &AtomicI64) -> bool {
        self.0.true_time.now().0 < until.load(Ordering::Relaxed)
    }

    pub(super) fn cut_off_disk(&self, ms: u32) {
        self.0.no_disk_until.store(self.until(ms), Ordering::Relaxed);
    }

    pub(super) fn cut_off_participants(&self, ms: u32) {
        self.0.no_calls_until.store(self.until(ms), Ordering::Relaxed);
    }

    pub(super) fn slow_down(&self, ms: u32) {
        self.0.slow_until.store(self.until(ms), Ordering::Relaxed);
    }

    /// Sets its clock forward, or back.
    pub(super) fn step_clock(&self, by_ms: i64) {
        self.0.offset_ms.fetch_add(by_ms, Ordering::Relaxed);
    }

    /// Everything is well again, but the clock stays as it is.
    pub(super) fn heal(&self) {
        for until in [&self.0.no_disk_until, &self.0.no_calls_until, &self.0.slow_until] {
            until.store(i64::MIN, Ordering::Relaxed);
        }
    }

    pub(super) fn reaches_disk(&self) -> bool {
        !self.is_before(&self.0.no_disk_until)
    }

    pub(super) fn reaches_participants(&self) -> bool {
        !self.is_before(&self.0.no_calls_until)
    }

    /// Returns how much longer a message takes, in milliseconds.
    pub(super) fn lag_ms(&self, dice: &Dice) -> u32 {
        if self.is_before(&self.0.slow_until) {
            dice.below(1_500)
        } else {
            0
        }
    }
}

impl Clock for Host {
    fn now(&self) -> Millis {
        let offset_ms = self.0.offset_ms.load(Ordering::Relaxed);
        Millis(self.0.true_time.now().0.saturating_add(offset_ms))
    }

    fn jitter(&self) -> u32 {
        u32::MAX / 2
    }

    async fn sleep_until(&self, at: Millis) {
        let wait_ms = at.since(self.now());
        tokio::time::sleep(std::time::Duration::from_millis(wait_ms)).await;
    }
}

/// Lets a process stand still and go on.
#[derive(Debug, Clone, Default)]
pub(super) struct Freezer(Arc<(AtomicBool, Mutex<Option<Waker>>)>);

impl Freezer {
    pub(super) fn freeze(&self) {
        self.0.0.store(true, Ordering::Relaxed);
    }

    pub(super) fn thaw(&self) {
        self.0.0.store(false, Ordering::Relaxed);
        if let Some(waker) = self.0.1.lock().unwrap().take() {
            waker.wake();
        }
    }
}

/// A process that stands still while its freezer says so: it knows nothing of the time that passes meanwhile.
pub(super) struct Freezable<F> {
    inner: Pin<Box<F>>,
    freezer: Freezer,
}

impl<F: Future> Freezable<F> {
    pub(super) fn new(inner: F, freezer: Freezer) -> Self {
        let inner = Box::pin(inner);
        Self { inner, freezer }
    }
}

impl<F: Future> Future for Freezable<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        if self.freezer.0.0.load(Ordering::Relaxed) {
            *self.freezer.0.1.lock().unwrap() = Some(context.waker().clone());
            return Poll::Pending;
        }
        self.inner.as_mut().poll(context)
    }
}
