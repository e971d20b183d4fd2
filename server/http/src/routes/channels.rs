//! Channels of a job.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use axum::http::StatusCode;
use neptune_wire::{Channel, CreateChannel};

use crate::access::Granted;
use crate::extract::{JobPath, Json, Path};
use crate::face::{Shared, now};
use crate::failure::Failure;
use crate::openapi::ProblemAnswer;

/// Lists a job's channels with their summaries, in order of creation.
#[utoipa::path(get, path = "/api/v1/jobs/{id}/channels", tag = "channels", params(JobPath), responses(
    (status = 200, body = Vec<Channel>),
    (status = "4XX", response = inline(ProblemAnswer)),
))]
pub(crate) async fn list_channels(
    State(face): State<Arc<Shared>>,
    Granted(grant): Granted,
    Path(path): Path<JobPath>,
) -> Result<Answer<Vec<Channel>>, Failure> {
    Ok(Answer(face.engine.list_channels(&grant, &path.id).await?))
}

/// Creates a channel, or answers the one of the same name, kind and origin.
#[utoipa::path(post, path = "/api/v1/jobs/{id}/channels", tag = "channels", params(JobPath),
    request_body = CreateChannel, responses(
    (status = 201, body = Channel),
    (status = "4XX", response = inline(ProblemAnswer)),
))]
pub(crate) async fn create_channel(
    State(face): State<Arc<Shared>>,
    Granted(grant): Granted,
    Path(path): Path<JobPath>,
    Json(create): Json<CreateChannel>,
) -> Result<(StatusCode, Answer<Channel>), Failure> {
    Ok((StatusCode::CREATED, Answer(face.engine.create_channel(&grant, &path.id, create, now()).await?)))
}
