//! Which server is meant, and the token that enters it.
//!
//! Address: `--server` or `NEPTUNE_URL`, else what `~/.neptune.yaml` says, else the server of the last `neptune login`,
//! else the default on this machine. Token: `NEPTUNE_TOKEN`, else the one that `login` keeps for that address.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use neptune_client::environment;
use neptune_client::rest::{Access, Blocking, Rest};
use neptune_runner::config::Config;
use neptune_wire::server::DEFAULT_URL;
use serde::{Deserialize, Serialize};

use crate::args::Global;
use crate::error::CliError;

/// What `neptune login` remembers; readable by its owner alone.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Logins {
    /// Address of the last login.
    #[serde(default)]
    pub(crate) server: Option<String>,
    /// Token by address.
    #[serde(default)]
    pub(crate) tokens: BTreeMap<String, String>,
}

impl Logins {
    /// `${XDG_CONFIG_HOME:-~/.config}/neptune/login.json`
    pub(crate) fn file() -> Option<PathBuf> {
        let config = std::env::var_os("XDG_CONFIG_HOME").filter(|value| !value.is_empty()).map(PathBuf::from);
        let config = config.or_else(|| std::env::home_dir().map(|home| home.join(".config")));
        config.map(|config| config.join("neptune/login.json"))
    }

    pub(crate) fn read(file: &Path) -> Result<Self, CliError> {
        let bytes = match std::fs::read(file) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(CliError::file(file, &error)),
        };
        serde_json::from_slice(&bytes).map_err(|error| {
            CliError::refused(format!("{}: {error}; `neptune login` writes it anew", file.display()))
        })
    }

    /// Writes beside its place and renames, never readable by others.
    pub(crate) fn write(&self, file: &Path) -> io::Result<()> {
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let beside = file.with_extension(format!("json.{}", std::process::id()));
        let mut opened =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        let json = serde_json::to_vec_pretty(self).expect("texts always serialise");
        opened.write_all(&json)?;
        opened.sync_all()?;
        std::fs::rename(&beside, file)
    }
}

/// The server that is meant.
///
/// # Errors
///
/// When a file that says it cannot be read.
pub(crate) fn access(global: &Global, config: &Config) -> Result<Access, CliError> {
    let logins = Logins::file().map(|file| Logins::read(&file)).transpose()?.unwrap_or_default();
    let said = global.server.clone().filter(|url| !url.is_empty()).or_else(|| config.server.clone());
    let url = said.or_else(|| logins.server.clone()).unwrap_or_else(|| DEFAULT_URL.into());
    let url = url.trim_end_matches('/').to_string();
    // A program that a runner started carries a token for one attempt; what it starts itself is no part of that attempt.
    let inside = std::env::var(environment::ONLINE_CONTEXT).is_ok_and(|value| value == "yes");
    let token = std::env::var(environment::TOKEN).ok().filter(|token| !token.is_empty() && !inside);
    let token = token.or_else(|| logins.tokens.get(&url).cloned());
    Ok(Access { url, token })
}

/// A connection to the server that is meant, for verbs that know of no job file.
pub(crate) fn connect(global: &Global) -> Result<Blocking, CliError> {
    let config = Config::read_global(std::env::home_dir().as_deref()).map_err(CliError::usage)?;
    let rest = Rest::new(access(global, &config)?).map_err(CliError::usage)?;
    Ok(Blocking::new(rest)?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn logins_are_kept_for_their_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("neptune/login.json");
        assert_eq!(Logins::read(&file).unwrap(), Logins::default());
        let url = "https://lab:8420".to_string();
        let logins = Logins { server: Some(url.clone()), tokens: BTreeMap::from([(url, "secret".into())]) };
        logins.write(&file).unwrap();
        logins.write(&file).unwrap();
        assert_eq!(Logins::read(&file).unwrap(), logins);
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(file.parent().unwrap()).unwrap().count(), 1);
        std::fs::write(&file, "{").unwrap();
        assert!(Logins::read(&file).unwrap_err().to_string().contains("neptune login"));
    }
}
