//! One setting: what it is called in the file, the environment and the flags, how its text is read and shown.

use std::fmt;

use clap::{Arg, ArgAction};

use crate::config::Config;

/// Prefix of the environment's names.
pub(crate) const ENVIRONMENT: &str = "NEPTUNE_SERVER_";

/// A setting of type-erased text; the table in `config.rs` holds them all.
pub(crate) struct Setting {
    /// Name in the file.
    pub(crate) key: &'static str,
    /// Name as a flag, without the dashes; singular where it may be given several times.
    pub(crate) flag: &'static str,
    /// What its value is, for `--help`.
    pub(crate) value: &'static str,
    /// Whether it holds a list.
    pub(crate) many: bool,
    pub(crate) help: &'static str,
    /// Reads the texts into the config; the error says what would be right.
    pub(crate) set: fn(&mut Config, &[String]) -> Result<(), String>,
    /// The value as the file would have it; `None` while it has none.
    pub(crate) show: fn(&Config) -> Option<toml::Value>,
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    Default,
    File(String),
    Environment(String),
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "file {path}"),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Flag(flag) => write!(f, "flag --{flag}"),
        }
    }
}

/// A value that cannot be.
#[derive(Debug)]
pub(crate) struct Wrong {
    pub(crate) key: String,
    pub(crate) origin: Origin,
    pub(crate) wanted: String,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.key, self.origin, self.wanted)
    }
}

impl std::error::Error for Wrong {}

impl Setting {
    /// The flag for clap.
    pub(crate) fn argument(&self) -> Arg {
        let action = if self.many { ArgAction::Append } else { ArgAction::Set };
        Arg::new(self.key).long(self.flag).value_name(self.value).help(self.help).action(action).global(true)
    }

    /// Its name in the environment.
    pub(crate) fn variable(&self) -> String {
        format!("{ENVIRONMENT}{}", self.key.to_ascii_uppercase())
    }

    /// A value of the file as texts.
    pub(crate) fn texts_of_toml(&self, value: &toml::Value) -> Result<Vec<String>, String> {
        match value {
            toml::Value::Array(items) if self.many => items.iter().map(text_of_toml).collect(),
            toml::Value::Array(_) => Err("must be one value, not a list".into()),
            _ if self.many => Err("must be a list, in brackets".into()),
            value => Ok(vec![text_of_toml(value)?]),
        }
    }

    /// A value of the environment as texts.
    pub(crate) fn texts_of_variable(&self, text: &str) -> Vec<String> {
        if !self.many {
            return vec![text.to_owned()];
        }
        text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
    }
}

fn text_of_toml(value: &toml::Value) -> Result<String, String> {
    match value {
        toml::Value::String(text) => Ok(text.clone()),
        toml::Value::Integer(number) => Ok(number.to_string()),
        _ => Err("must be a text or a whole number".into()),
    }
}
