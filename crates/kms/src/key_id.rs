//! Names of key-encryption keys.

use std::fmt;

/// Longest name of a key, in bytes.
pub(crate) const MAX_NAME: usize = 64;

/// Who holds a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A key file.
    Local,
    /// Tencent Cloud's key management service.
    Tencent,
}

impl Kind {
    pub(crate) const fn tag(self) -> u8 {
        match self {
            Self::Local => 1,
            Self::Tencent => 2,
        }
    }

    pub(crate) const fn of(tag: u8) -> Option<Self> {
        match tag {
            1 => Some(Self::Local),
            2 => Some(Self::Tencent),
            _ => None,
        }
    }
}

/// A key-encryption key: which one, not the key itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId {
    /// Who holds it.
    pub kind: Kind,
    /// Name of the key file, or id of the master key; 1 to 64 printable ASCII characters.
    pub name: String,
    /// Version in the key file. 0 for a master key: the service keeps account of its versions itself, inside of what it
    /// wraps.
    pub version: u32,
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Local => write!(f, "local:{}/{}", self.name, self.version),
            Kind::Tencent => write!(f, "tencent:{}", self.name),
        }
    }
}

/// Says whether a text can be the name of a key.
pub(crate) fn is_name(name: &[u8]) -> bool {
    (1..=MAX_NAME).contains(&name.len()) && name.iter().all(u8::is_ascii_graphic)
}
