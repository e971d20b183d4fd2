//! Projects.

use neptune_wire::{CreateProject, Micros, Project, ProjectKey};

use crate::{Engine, Grant, Refused};

impl Engine {
    /// Creates a project; the same key and name again answers the existing one.
    pub async fn create_project(
        &self,
        _grant: &Grant,
        _create: CreateProject,
        _now: Micros,
    ) -> Result<Project, Refused> {
        todo!("projects")
    }

    /// All projects by key.
    pub async fn list_projects(&self, _grant: &Grant) -> Result<Vec<Project>, Refused> {
        todo!("projects")
    }

    /// One project.
    pub async fn read_project(&self, _grant: &Grant, _key: &ProjectKey) -> Result<Project, Refused> {
        todo!("projects")
    }
}
