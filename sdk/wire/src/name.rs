//! Names that people give: checked at the door, trusted after.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::id::as_text;

/// Longest channel, param, project or chart name, in bytes: fits a storage key with room to spare.
pub const NAME_BYTES: usize = 256;
/// Longest tag, in bytes.
pub const TAG_BYTES: usize = 64;
/// Channels whose name begins so belong to Neptune itself (logs, system metrics).
pub const SYSTEM_PREFIX: &str = "sys/";

/// Why a name was refused: the kind of name, the text and the rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {found:?}: {rule}")]
pub struct NameError {
    /// `channel name`, `tag`, …
    pub kind: &'static str,
    /// The text as it came, cut to 80 characters.
    pub found: String,
    /// What would be right.
    pub rule: &'static str,
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $rule:literal, $example:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Box<str>);

        impl $name {
            /// Checks a text against the rule of this kind of name.
            ///
            /// # Errors
            ///
            /// [`NameError`] with the rule, which is written for the person who chose the name.
            pub fn new(text: &str) -> Result<Self, NameError> {
                let valid: fn(&str) -> bool = $valid;
                if valid(text) {
                    return Ok(Self(text.into()));
                }
                Err(NameError { kind: $kind, found: text.chars().take(80).collect(), rule: $rule })
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        as_text!($name, $example);
    };
}

name!(
    /// A project's short key, the first half of its jobs' ids.
    ProjectKey,
    "project key",
    "must be 1 to 16 upper-case letters or digits, starting with a letter, such as TRIG",
    "TRIG",
    |text| {
        (1..=16).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_uppercase())
            && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
    }
);
name!(
    /// A channel's name within its job; any printable text. `sys/…` belongs to Neptune.
    ChannelName,
    "channel name",
    "must be 1 to 256 bytes of text, without control characters and without blanks at either end",
    "loss",
    is_plain
);
name!(
    /// A param's name within its job.
    ParamName,
    "parameter name",
    "must be 1 to 256 bytes of text, without control characters and without blanks at either end",
    "learning_rate",
    is_plain
);
name!(
    /// A chart's name within its job.
    ChartName,
    "chart name",
    "must be 1 to 256 bytes of text, without control characters and without blanks at either end",
    "train and validation loss",
    is_plain
);
name!(
    /// A word that marks jobs.
    Tag,
    "tag",
    "must be 1 to 64 lower-case letters, digits, '_' or '-'",
    "baseline",
    |text| {
        (1..=TAG_BYTES).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-')
    }
);

impl ChannelName {
    /// Whether the name lies in the part that belongs to Neptune itself.
    pub fn is_system(&self) -> bool {
        self.0.starts_with(SYSTEM_PREFIX)
    }
}

fn is_plain(text: &str) -> bool {
    (1..=NAME_BYTES).contains(&text.len()) && !text.chars().any(char::is_control) && text.trim() == text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_names_say_the_rule() {
        let error = Tag::new("Best Model").unwrap_err();
        expect_test::expect![[r#"tag "Best Model": must be 1 to 64 lower-case letters, digits, '_' or '-'"#]]
            .assert_eq(&error.to_string());
        assert!(ChannelName::new("").is_err());
        assert!(ChannelName::new("a\nb").is_err());
        assert!(ChannelName::new(&"x".repeat(257)).is_err());
        assert!(ProjectKey::new("1A").is_err());
    }

    #[test]
    fn channel_names_are_free_text() {
        for name in ["loss", "val loss (%)", "größe", "a/b.c", "日本"] {
            assert_eq!(ChannelName::new(name).unwrap().as_str(), name);
        }
        assert!(ChannelName::new("sys/stdout").unwrap().is_system());
    }
}
