//! What people say of themselves, and why administrators do what they do.

use serde::{Deserialize, Serialize};

use crate::error::Error;

const MAX_NICKNAME_CHARS: usize = 64;
const MAX_AVATAR_CHARS: usize = 500;
const MAX_REASON_CHARS: usize = 500;

/// What a user says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Gender {
    Unspecified,
    Female,
    Male,
    Other,
}

impl Gender {
    pub(crate) const ALL: [Self; 4] = [Self::Unspecified, Self::Female, Self::Male, Self::Other];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::Female => "female",
            Self::Male => "male",
            Self::Other => "other",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|gender| gender.name() == name)
    }
}

/// A change of a profile; what is absent stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Profile {
    pub(crate) nickname: Option<String>,
    pub(crate) avatar: Option<String>,
    pub(crate) gender: Option<Gender>,
}

impl Profile {
    pub(crate) fn new(
        nickname: Option<String>,
        avatar: Option<String>,
        gender: Option<Gender>,
    ) -> Result<Self, Error> {
        if nickname
            .as_deref()
            .is_some_and(|name| !printable(name, MAX_NICKNAME_CHARS))
        {
            return Err(Error::invalid(
                "nickname",
                "must be at most 64 characters, none of them a control character",
            ));
        }
        if avatar
            .as_deref()
            .is_some_and(|url| !url.is_empty() && !is_picture_url(url))
        {
            return Err(Error::invalid(
                "avatar",
                "must be an https URL of at most 500 printable ASCII characters, or empty",
            ));
        }
        Ok(Self {
            nickname,
            avatar,
            gender,
        })
    }

    /// Names of the fields that change, for the event.
    pub(crate) fn fields(&self) -> Vec<&'static str> {
        let given = [
            ("nickname", self.nickname.is_some()),
            ("avatar", self.avatar.is_some()),
            ("gender", self.gender.is_some()),
        ];
        given
            .into_iter()
            .filter_map(|(name, given)| given.then_some(name))
            .collect()
    }
}

/// Tells whether a browser may be given the text as the address of a picture: https, a host, no user and password, nothing
/// that would end the attribute of a page that forgets to escape.
fn is_picture_url(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("https://") else {
        return false;
    };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    text.len() <= MAX_AVATAR_CHARS
        && !host.is_empty()
        && !host.contains('@')
        && text
            .bytes()
            .all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'\'' | b'<' | b'>' | b'\\' | b'`'))
}

/// Why an administrator does something, 1 to 500 characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reason(String);

impl Reason {
    pub(crate) fn new(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        if !text.is_empty() && printable(text, MAX_REASON_CHARS) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Error::invalid(
                "reason",
                "must be 1 to 500 characters, none of them a control character",
            ))
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Tells whether a text has at most `max` characters and no control characters.
pub(super) fn printable(text: &str, max: usize) -> bool {
    // No character has more than 4 bytes: a long text is refused without being counted.
    text.len() <= max * 4 && text.chars().count() <= max && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nicknames_are_counted_in_characters() {
        let nickname = |name: String| Profile::new(Some(name), None, None);
        assert!(nickname("王".repeat(64)).is_ok());
        assert!(nickname("王".repeat(65)).is_err());
        assert!(nickname("a\nb".to_owned()).is_err());
        assert!(nickname(String::new()).is_ok());
    }

    #[test]
    fn an_avatar_is_an_https_url() {
        let avatar = |url: &str| Profile::new(None, Some(url.to_owned()), None);
        for good in ["", "https://a.example/x.png?y=1#z", "https://a.example"] {
            assert!(avatar(good).is_ok(), "{good}");
        }
        for bad in [
            "https://例.example",
            "http://a.example/x.png",
            "javascript:alert(1)",
            "https://",
            "https:///x",
            "https://user:secret@a.example/",
            "https://a.example/\"onload=\"x",
            "https://a.example/ x",
            &format!("https://a.example/{}", "x".repeat(500)),
        ] {
            assert!(avatar(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_reason_is_not_blank() {
        assert_eq!(Reason::new(" spam ").unwrap().as_str(), "spam");
        for bad in ["", "   ", "a\u{7}b", &"x".repeat(501)] {
            assert!(Reason::new(bad).is_err());
        }
    }

    #[test]
    fn only_what_is_given_changes() {
        let profile = Profile::new(None, Some(String::new()), Some(Gender::Other)).unwrap();
        assert_eq!(profile.fields(), ["avatar", "gender"]);
        assert!(Profile::default().fields().is_empty());
    }
}
