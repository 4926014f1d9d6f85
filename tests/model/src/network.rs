//! Messages on their way, in no order.

use saga_core::OpKey;

/// Who waits for an answer: one life of one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Line {
    pub(crate) epoch: u8,
    /// Counts how often the process has loaded the saga again.
    pub(crate) life: u8,
}

/// What a participant says to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Said {
    Succeeded,
    Refused {
        /// With the barrier's mark.
        stored: bool,
    },
    Pending,
    NotSeen,
    Superseded,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Body {
    Call { probe: bool },
    Answer(Said),
}

/// A message. A call whose `line` is cut is on its way all the same; an answer is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Message {
    pub(crate) key: OpKey,
    pub(crate) attempt: u32,
    pub(crate) line: Option<Line>,
    pub(crate) body: Body,
}

/// The bag, sorted, so that the order of sending makes no difference.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Network(Vec<Message>);

impl Network {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Message> {
        self.0.iter()
    }

    /// Returns the messages, each once however often it is there.
    pub(crate) fn distinct(&self) -> impl Iterator<Item = &Message> {
        let mut before = None;
        self.0
            .iter()
            .filter(move |message| before.replace(**message) != Some(**message))
    }

    pub(crate) fn put(&mut self, message: Message) {
        let at = self.0.partition_point(|other| *other <= message);
        self.0.insert(at, message);
    }

    pub(crate) fn take(&mut self, message: &Message) {
        if let Ok(at) = self.0.binary_search(message) {
            self.0.remove(at);
        }
    }

    /// Nobody waits for these answers any more.
    pub(crate) fn cut(&mut self, is_cut: impl Fn(&Message, Line) -> bool) {
        for message in &mut self.0 {
            if message.line.is_some_and(|line| is_cut(message, line)) {
                message.line = None;
            }
        }
        self.0
            .retain(|message| message.line.is_some() || matches!(message.body, Body::Call { .. }));
        self.0.sort_unstable();
    }
}
