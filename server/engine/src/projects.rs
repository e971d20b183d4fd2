//! Projects.

use neptune_store::{ProjectRecord, Writes};
use neptune_wire::{CreateProject, Micros, Project, ProjectKey};

use crate::{Engine, Grant, Refused};

/// Longest name.
const NAME_BYTES: usize = 256;

/// Refuses a name that is none.
pub(crate) fn check_name(name: &str) -> Result<(), Refused> {
    if name.is_empty() || name.len() > NAME_BYTES {
        return Err(Refused::field("name", "must be 1 to 256 bytes of text"));
    }
    Ok(())
}

/// The project that has a key already, if it is meant.
pub(crate) fn same_name(existing: Project, name: &str) -> Result<Project, Refused> {
    if existing.name == name {
        return Ok(existing);
    }
    let by = format!("the project named {:?}", existing.name);
    Err(Refused::Taken { what: "project key", by })
}

impl Engine {
    /// Creates a project; the same key and name again answers the existing one.
    ///
    /// # Errors
    ///
    /// [`Refused::Field`] for a name that is empty or too long, [`Refused::Taken`] for a key with another name.
    pub async fn create_project(
        &self,
        grant: &Grant,
        create: CreateProject,
        now: Micros,
    ) -> Result<Project, Refused> {
        grant.check_everything("creating projects")?;
        check_name(&create.name)?;
        let core = self.core.clone();
        let created = async move {
            let registry = &core.registry;
            let _one = registry.creating_project.lock().await;
            if let Ok(existing) = registry.find_project(&create.key) {
                return same_name(existing.project(), &create.name);
            }
            let record = ProjectRecord { name: create.name, created: now, last_number: 0, jobs: 0 };
            let mut writes = Writes::new();
            writes.create_project(&create.key, &record);
            core.store.commit(writes).await?;
            registry.add_project(create.key.clone(), record);
            Ok(registry.find_project(&create.key)?.project())
        };
        self.core.finish(created).await
    }

    /// All projects by key.
    ///
    /// # Errors
    ///
    /// [`Refused::Forbidden`] for an attempt.
    pub async fn list_projects(&self, grant: &Grant) -> Result<Vec<Project>, Refused> {
        grant.check_everything("listing projects")?;
        Ok(self.core.registry.list_projects().iter().map(|project| project.project()).collect())
    }

    /// One project.
    ///
    /// # Errors
    ///
    /// [`Refused::UnknownProject`], [`Refused::Forbidden`].
    pub async fn read_project(&self, grant: &Grant, key: &ProjectKey) -> Result<Project, Refused> {
        self.may_use_project(grant, key)?;
        Ok(self.core.registry.find_project(key)?.project())
    }
}
