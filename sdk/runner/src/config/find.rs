//! Which file configures a job.

use std::path::{Path, PathBuf};

use super::{Config, ConfigError, Fault, read};

/// Looked for in the job's folder, in this order, when no `--config` is given.
pub const JOB_FILES: [&str; 4] = ["neptune.yaml", "neptune.yml", ".neptune.yaml", ".neptune.yml"];
/// The user's own file, below the home folder.
const GLOBAL_FILE: &str = ".neptune.yaml";
/// A job file is a page of text; what is larger is another kind of file.
const FILE_BYTES: u64 = 4 * 1024 * 1024;

/// Finds the job file of `folder`.
///
/// A home folder's `.neptune.yaml` is the user's own file and configures no job by itself.
pub fn find_job_file(folder: &Path, home: Option<&Path>) -> Option<PathBuf> {
    JOB_FILES
        .iter()
        .filter(|name| !(home == Some(folder) && **name == GLOBAL_FILE))
        .map(|name| folder.join(name))
        .find(|file| file.is_file())
}

impl Config {
    /// Reads one file.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] with everything that is wrong.
    pub fn read_file(file: &Path) -> Result<Config, ConfigError> {
        let failed = |source| ConfigError::Read { file: file.into(), source };
        let size_bytes = std::fs::metadata(file).map_err(failed)?.len();
        let refused = |text: String| {
            let fault = Fault { line: 1, key: String::new(), text };
            ConfigError::Faults { file: file.into(), faults: vec![fault] }
        };
        if size_bytes > FILE_BYTES {
            return Err(refused(format!(
                "{size_bytes} bytes are too many for a job file; is it the right one?"
            )));
        }
        let bytes = std::fs::read(file).map_err(failed)?;
        let source =
            String::from_utf8(bytes).map_err(|_| refused("not UTF-8; save the file as UTF-8 text".into()))?;
        Config::parse(&source, file)
    }

    /// Reads the text of a file; `file` is only named in messages.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Faults`] with everything that is wrong.
    pub fn parse(source: &str, file: &Path) -> Result<Config, ConfigError> {
        let source = source.strip_prefix('\u{feff}').unwrap_or(source);
        read::read(source, file).map_err(|faults| ConfigError::Faults { file: file.into(), faults })
    }

    /// Reads the user's own file, `~/.neptune.yaml`, when there is one.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] with everything that is wrong.
    pub fn read_global(home: Option<&Path>) -> Result<Config, ConfigError> {
        match home.map(|home| home.join(GLOBAL_FILE)).filter(|file| file.is_file()) {
            Some(file) => Config::read_file(&file),
            None => Ok(Config::default()),
        }
    }
}
