//! Which project a job belongs to: named by key or by name, created on first use.

use neptune_client::rest::{Rest, RestError};
use neptune_wire::problem::Code;
use neptune_wire::{CreateProject, ProjectKey};

use crate::config::Config;

/// Where jobs go that name no project.
pub const DEFAULT_PROJECT: (&str, &str) = ("SANDBOX", "Sandbox");
/// Letters of a key that is made from a name.
const KEY_LETTERS: usize = 8;

/// A project as the job's settings name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectName {
    /// The key it is created with, unless that is taken.
    pub key: ProjectKey,
    /// Its name.
    pub name: String,
    /// Whether the key was given and not made from the name.
    pub key_given: bool,
}

impl ProjectName {
    /// Reads `project-key` and `project`; a project given as a key (`TRIG`) is that key.
    pub fn of(config: &Config) -> Self {
        let (key, name) = (config.project_key.clone(), config.project.clone());
        match (key, name) {
            (Some(key), name) => Self { name: name.unwrap_or_else(|| key.to_string()), key, key_given: true },
            (None, Some(text)) => match ProjectKey::new(&text) {
                Ok(key) => Self { key, name: text, key_given: true },
                Err(_) => Self { key: key_of(&text), name: text, key_given: false },
            },
            (None, None) => {
                let key = ProjectKey::new(DEFAULT_PROJECT.0).expect("the default project's key is a key");
                Self { key, name: DEFAULT_PROJECT.1.into(), key_given: true }
            }
        }
    }

    /// Finds the project on the server, or creates it.
    ///
    /// A given key decides alone. Else the first project of this name is it; a new one gets the key made of the name, with
    /// a number when that is taken.
    ///
    /// # Errors
    ///
    /// [`RestError`]
    pub async fn find_or_create(&self, rest: &Rest) -> Result<ProjectKey, RestError> {
        let wanted = CreateProject { key: self.key.clone(), name: self.name.clone() };
        if !self.key_given {
            return rest.find_or_create_project_by_name(wanted).await;
        }
        let projects = rest.list_projects().await?;
        if projects.iter().any(|project| project.key == self.key) {
            return Ok(wanted.key);
        }
        match rest.create_project(&wanted).await {
            // Somebody else created this very project a moment ago.
            Err(error) if error.code() == Some(Code::Taken) => {
                rest.read_project(&self.key).await.map(|project| project.key)
            }
            created => created.map(|project| project.key),
        }
    }
}

/// Makes a key of a name: its first letters and digits, upper case; `P` before a digit or when nothing is left.
pub fn key_of(name: &str) -> ProjectKey {
    let plain = name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_uppercase());
    let mut key: String = plain.take(KEY_LETTERS).collect();
    if !key.starts_with(|c: char| c.is_ascii_uppercase()) {
        key.insert(0, 'P');
    }
    ProjectKey::new(&key).expect("upper-case letters and digits after a letter are a key")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_made_of_names() {
        for (name, key) in [
            ("Trigonometry", "TRIGONOM"),
            ("sandbox", "SANDBOX"),
            ("Handwritten digits", "HANDWRIT"),
            ("2016 plans", "P2016PLAN"),
            ("größe", "GRE"),
            ("日本", "P"),
            ("", "P"),
        ] {
            assert_eq!(key_of(name).as_str(), key, "{name}");
        }
    }

    #[test]
    fn settings_name_a_project_in_three_ways() {
        let name = |config: &str| {
            let config = Config::parse(config, std::path::Path::new("x")).unwrap();
            let found = ProjectName::of(&config);
            format!("{} {:?} {}", found.key, found.name, found.key_given)
        };
        assert_eq!(name(""), r#"SANDBOX "Sandbox" true"#);
        assert_eq!(name("project: Trigonometry"), r#"TRIGONOM "Trigonometry" false"#);
        assert_eq!(name("project: TRIG"), r#"TRIG "TRIG" true"#);
        assert_eq!(name("{project: Trigonometry, project-key: TRIG}"), r#"TRIG "Trigonometry" true"#);
    }
}
