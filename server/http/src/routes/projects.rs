//! Projects.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use axum::http::StatusCode;
use neptune_wire::{CreateProject, Project};

use crate::access::Granted;
use crate::extract::{Json, Path, ProjectPath};
use crate::face::{Shared, now};
use crate::failure::Failure;
use crate::openapi::ProblemAnswer;

/// Lists all projects by key.
#[utoipa::path(get, path = "/api/v1/projects", tag = "projects", responses(
    (status = 200, body = Vec<Project>),
    (status = "4XX", response = inline(ProblemAnswer)),
))]
pub(crate) async fn list_projects(
    State(face): State<Arc<Shared>>,
    Granted(grant): Granted,
) -> Result<Answer<Vec<Project>>, Failure> {
    Ok(Answer(face.engine.list_projects(&grant).await?))
}

/// Creates a project; the same key and name again answers the existing one.
#[utoipa::path(post, path = "/api/v1/projects", tag = "projects", request_body = CreateProject, responses(
    (status = 201, body = Project),
    (status = "4XX", response = inline(ProblemAnswer)),
))]
pub(crate) async fn create_project(
    State(face): State<Arc<Shared>>,
    Granted(grant): Granted,
    Json(create): Json<CreateProject>,
) -> Result<(StatusCode, Answer<Project>), Failure> {
    Ok((StatusCode::CREATED, Answer(face.engine.create_project(&grant, create, now()).await?)))
}

/// Reads one project.
#[utoipa::path(get, path = "/api/v1/projects/{key}", tag = "projects", params(ProjectPath), responses(
    (status = 200, body = Project),
    (status = "4XX", response = inline(ProblemAnswer)),
))]
pub(crate) async fn read_project(
    State(face): State<Arc<Shared>>,
    Granted(grant): Granted,
    Path(path): Path<ProjectPath>,
) -> Result<Answer<Project>, Failure> {
    Ok(Answer(face.engine.read_project(&grant, &path.key).await?))
}
