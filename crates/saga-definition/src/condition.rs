//! Whether a step runs at all.

use prost_reflect::DynamicMessage;

use crate::mapping::{Context, MapError, Path};

/// Reads the bool that says whether a step runs: a compiled `when`.
#[derive(Clone, Debug)]
pub struct Condition(pub(crate) Path);

impl Condition {
    /// Tells whether the step runs; false leaves it out. An absent source counts as false where the definition allows
    /// the default. What is read never changes, so the answer is the same however often it is asked for.
    ///
    /// # Errors
    /// [`MapError`] if the source is absent where nothing allows it, or the context holds a message of a foreign type.
    pub fn holds(&self, context: &Context<'_>) -> Result<bool, MapError> {
        match self.0.read(context)? {
            None => Ok(false),
            // Only a message put together by hand holds anything but a bool there.
            Some(value) => value.as_bool().ok_or_else(|| MapError::WrongValue {
                field: self.0.text().to_owned(),
            }),
        }
    }

    /// Tries the condition on one step's reply, if it reads that step's; `None` is a step without a reply.
    ///
    /// # Errors
    /// [`MapError`] if the source is absent where nothing allows it.
    pub fn check_reply(&self, step: usize, reply: Option<&DynamicMessage>) -> Result<(), MapError> {
        self.0.check_reply(step, reply)
    }

    /// Returns the path as written.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Returns the indexes of the steps whose replies are read.
    #[must_use]
    pub fn steps_read(&self) -> Vec<usize> {
        self.0.step_read().into_iter().collect()
    }
}
