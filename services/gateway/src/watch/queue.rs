//! Frames that wait for their client, bounded in number and bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::mpsc::{self, Receiver, Sender};

use super::frame::Frame;

/// Where frames are put.
#[derive(Debug)]
pub(super) struct Inlet {
    frames: Sender<Frame>,
    waiting: Arc<AtomicUsize>,
    max_bytes: usize,
}

/// Where frames are taken.
#[derive(Debug)]
pub(super) struct Outlet {
    frames: Receiver<Frame>,
    waiting: Arc<AtomicUsize>,
}

/// Why a frame was not put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    Full,
    Closed,
}

/// Makes a queue.
pub(super) fn queue(max_messages: usize, max_bytes: usize) -> (Inlet, Outlet) {
    let (sender, receiver) = mpsc::channel(max_messages);
    let waiting = Arc::<AtomicUsize>::default();
    let inlet = Inlet {
        frames: sender,
        waiting: Arc::clone(&waiting),
        max_bytes,
    };
    let outlet = Outlet {
        frames: receiver,
        waiting,
    };
    (inlet, outlet)
}

impl Inlet {
    /// Puts a frame; one that is larger than the queue only if nothing waits.
    pub(super) fn put(&self, frame: Frame) -> Result<(), Refused> {
        let size = frame.size();
        let before = self.waiting.load(Ordering::Acquire);
        if before > 0 && before.saturating_add(size) > self.max_bytes {
            return Err(Refused::Full);
        }
        self.waiting.fetch_add(size, Ordering::AcqRel);
        self.frames.try_send(frame).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Refused::Full,
            mpsc::error::TrySendError::Closed(_) => Refused::Closed,
        })
    }

    /// Waits until nobody takes frames any more.
    pub(super) async fn closed(&self) {
        self.frames.closed().await;
    }
}

impl Outlet {
    /// Takes the next frame; `None` when no more will come.
    pub(super) async fn take(&mut self) -> Option<Frame> {
        let frame = self.frames.recv().await?;
        self.waiting.fetch_sub(frame.size(), Ordering::AcqRel);
        Some(frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(bytes: usize) -> Frame {
        Frame {
            seq: 1,
            kind: "task".to_owned(),
            json: vec![b' '; bytes].into(),
        }
    }

    #[tokio::test]
    async fn a_queue_is_bounded_by_number_and_by_bytes() {
        let (inlet, mut outlet) = queue(2, 100);
        inlet.put(frame(1)).unwrap();
        inlet.put(frame(1)).unwrap();
        assert_eq!(inlet.put(frame(1)), Err(Refused::Full));
        let (inlet2, mut outlet2) = queue(10, 100);
        inlet2.put(frame(60)).unwrap();
        assert_eq!(inlet2.put(frame(60)), Err(Refused::Full));
        outlet2.take().await.unwrap();
        inlet2.put(frame(60)).unwrap();
        assert!(outlet.take().await.is_some());
    }

    #[tokio::test]
    async fn a_large_frame_passes_alone() {
        let (inlet, mut outlet) = queue(10, 100);
        inlet.put(frame(1000)).unwrap();
        assert_eq!(inlet.put(frame(1)), Err(Refused::Full));
        assert_eq!(outlet.take().await.unwrap().size(), 1000);
        inlet.put(frame(1)).unwrap();
        drop(outlet);
        assert_eq!(inlet.put(frame(1)), Err(Refused::Closed));
    }
}
