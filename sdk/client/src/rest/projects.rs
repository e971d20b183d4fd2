//! Projects.

use neptune_wire::problem::Code;
use neptune_wire::{CreateProject, Project, ProjectKey};
use reqwest::Method;

use super::{Rest, RestError};

/// How many keys are tried for a name whose key belongs to other projects.
const TRIES: u32 = 50;

impl Rest {
    /// Creates a project, or answers the existing one of the same key and name.
    ///
    /// # Errors
    ///
    /// [`RestError::Refused`] with `taken` when the key belongs to a project of another name.
    pub async fn create_project(&self, project: &CreateProject) -> Result<Project, RestError> {
        self.answer(self.request_json(Method::POST, &["projects"], project)?).await
    }

    /// All projects.
    ///
    /// # Errors
    ///
    /// [`RestError`].
    pub async fn list_projects(&self) -> Result<Vec<Project>, RestError> {
        self.answer(self.request(Method::GET, &["projects"])?).await
    }

    /// One project.
    ///
    /// # Errors
    ///
    /// [`RestError::Refused`] with `unknown-project`.
    pub async fn read_project(&self, key: &ProjectKey) -> Result<Project, RestError> {
        self.answer(self.request(Method::GET, &["projects", key.as_str()])?).await
    }

    /// Finds the first project of this name; a new one gets this key, with a number where other projects have it.
    ///
    /// # Errors
    ///
    /// [`RestError`]
    pub async fn find_or_create_project_by_name(
        &self,
        wanted: CreateProject,
    ) -> Result<ProjectKey, RestError> {
        let projects = self.list_projects().await?;
        if let Some(project) = projects.into_iter().find(|project| project.name == wanted.name) {
            return Ok(project.key);
        }
        let mut number = 1;
        loop {
            let key = numbered(&wanted.key, number);
            match self.create_project(&CreateProject { key, name: wanted.name.clone() }).await {
                Ok(project) => return Ok(project.key),
                Err(error) if error.code() == Some(Code::Taken) && number < TRIES => number += 1,
                Err(error) => return Err(error),
            }
        }
    }
}

fn numbered(key: &ProjectKey, number: u32) -> ProjectKey {
    match number {
        1 => key.clone(),
        _ => {
            let digits = number.to_string();
            let start: String = key.as_str().chars().take(16 - digits.len()).collect();
            ProjectKey::new(&format!("{start}{digits}")).expect("a key with digits behind it is a key")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_behind_a_key_leaves_it_a_key() {
        let key = ProjectKey::new("ABCDEFGHIJKLMNOP").unwrap();
        assert_eq!(numbered(&key, 1).as_str(), "ABCDEFGHIJKLMNOP");
        assert_eq!(numbered(&key, 12).as_str(), "ABCDEFGHIJKLMN12");
    }
}
