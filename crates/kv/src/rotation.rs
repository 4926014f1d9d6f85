//! Families of ids that replace each other, as refresh tokens do (RFC 9700, section 4.14.2).
//!
//! A family has an active id, and the parent that the active one replaced. Presenting the active id makes the next one
//! active. Presenting the parent is what a client does whose answer was lost:
//!
//! * within the grace it gets the active id once more: it asked twice;
//! * later it gets the next id, and the active one, which nobody has presented, is void. If somebody holds it all the
//!   same, then two parties share the family; whoever presents a void id ends it. Handing out the active id again
//!   would let both go on for ever.
//!
//! Any other id ends the family.

use crate::Error;

/// Longest id of a family.
const MAX_ID_BYTES: usize = 128;

/// What presenting an id came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rotation {
    /// It was the active one; the next one is active now.
    Rotated,
    /// It was the parent of the active one, whose answer was lost.
    Repeated {
        /// The id that is active now: the same one as before within the grace, the next one later.
        current: String,
    },
    /// It is neither. The family is removed.
    Reused,
    /// There is no such family: it has ended or was removed.
    Absent,
}

/// Checks an id that is to become active: 1 to 128 visible ASCII characters.
pub(crate) fn check_id(id: &str) -> Result<(), Error> {
    if is_id(id) {
        Ok(())
    } else {
        Err(Error::Bounds(
            "an id of a family is 1 to 128 visible ASCII characters",
        ))
    }
}

/// Returns what a store may compare: an id that cannot be any family's becomes the empty one, which is none's either.
pub(crate) fn presented(id: &str) -> &str {
    if is_id(id) { id } else { "" }
}

fn is_id(id: &str) -> bool {
    (1..=MAX_ID_BYTES).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Reads a store's answer.
pub(crate) fn answer(
    family: &'static str,
    outcome: &str,
    current: Option<String>,
) -> Result<Rotation, Error> {
    match (outcome, current) {
        ("rotated", _) => Ok(Rotation::Rotated),
        ("repeated", Some(current)) => Ok(Rotation::Repeated { current }),
        ("reused", _) => Ok(Rotation::Reused),
        ("absent", _) => Ok(Rotation::Absent),
        _ => Err(Error::Corrupt { family }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_id_equals_none() {
        assert_eq!(presented("rt_1"), "rt_1");
        for odd in ["", "a b", "a\0", "é", &"x".repeat(129)] {
            assert_eq!(presented(odd), "");
            assert!(check_id(odd).is_err(), "{odd}");
        }
    }
}
