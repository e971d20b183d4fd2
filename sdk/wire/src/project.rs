//! Projects: folders of jobs with a key that begins their ids.

use serde::{Deserialize, Serialize};

use crate::name::ProjectKey;
use crate::number::Micros;

/// `POST /projects`. Repeating it with the same key and name answers the same project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CreateProject {
    /// Unique; begins the ids of its jobs.
    pub key: ProjectKey,
    /// Free text, 1 to 256 bytes.
    pub name: String,
}

/// A project as `GET /projects/{key}` answers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Project {
    /// Unique key.
    pub key: ProjectKey,
    /// Free text.
    pub name: String,
    /// When it was created.
    pub created_micros: Micros,
    /// How many jobs it holds.
    pub jobs: u64,
}
