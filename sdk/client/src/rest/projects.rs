//! Projects.

use neptune_wire::{CreateProject, Project, ProjectKey};
use reqwest::Method;

use super::{Rest, RestError};

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
}
