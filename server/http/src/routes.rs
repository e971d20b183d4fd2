//! The table of routes. It is also the OpenAPI document: a route is added here once, by its handler, and nowhere else.
//!
//! A new route: 1. write the handler with `#[utoipa::path]` in the file of its noun; 2. name it here; 3. `cargo test -p
//! neptune-http routes` compares router and document.

mod channels;
mod charts;
mod imports;
mod jobs;
mod life;
mod points;
mod projects;
mod server;
mod snapshots;

mod blobs;
pub(crate) mod images;
mod text;

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use tower::ServiceBuilder;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::face::{Face, Shared};
use crate::failure::Failure;
use crate::{access, access_log, bounds, docs, guard, openapi, socket, ui};

/// The routes of `/api/v1` and of operation, with their documentation.
fn documented() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::with_openapi(openapi::frame())
        .routes(routes!(server::server_info))
        .routes(routes!(access::login))
        .routes(routes!(access::logout))
        .routes(routes!(projects::list_projects, projects::create_project))
        .routes(routes!(projects::read_project))
        .routes(routes!(blobs::download_blob, blobs::upload_blob))
        .routes(routes!(snapshots::create_snapshot))
        .routes(routes!(jobs::list_jobs, jobs::create_job))
        .routes(routes!(jobs::list_columns))
        .routes(routes!(jobs::read_job, jobs::patch_job, life::delete_job))
        .routes(routes!(jobs::abort_job))
        .routes(routes!(life::restore_job))
        .routes(routes!(life::read_retention, life::replace_retention))
        .routes(routes!(life::preview_retention))
        .routes(routes!(life::collect))
        .routes(routes!(imports::import_project))
        .routes(routes!(imports::import_job))
        .routes(routes!(imports::import_frames))
        .routes(routes!(jobs::claim_job))
        .routes(routes!(jobs::read_attempt))
        .routes(routes!(jobs::end_attempt))
        .routes(routes!(channels::list_channels, channels::create_channel))
        .routes(routes!(charts::list_charts, charts::create_chart))
        .routes(routes!(points::append_points))
        .routes(routes!(points::read_points))
        .routes(routes!(points::read_envelopes))
        .routes(routes!(text::read_text))
        .routes(routes!(text::download_log))
        .routes(routes!(images::list_images))
        .routes(routes!(images::show_image))
        .routes(routes!(snapshots::read_snapshot))
        .routes(routes!(snapshots::read_tree))
        .routes(routes!(snapshots::download_file))
        .routes(routes!(snapshots::download_archive))
        .routes(routes!(snapshots::diff_snapshots))
        .routes(routes!(socket::ingest::ingest))
        .routes(routes!(socket::live::live))
        .routes(routes!(server::health))
        .routes(routes!(server::ready))
        .routes(routes!(server::metrics))
        .routes(routes!(docs::document))
        .routes(routes!(docs::page))
        .routes(routes!(docs::asset))
}

/// Everything that is served, without its layers, and the document of it.
fn table() -> (Router<Arc<Shared>>, utoipa::openapi::OpenApi) {
    let (router, document) = documented().split_for_parts();
    (router, openapi::finish(document))
}

/// The document as it is served.
pub(crate) fn document() -> utoipa::openapi::OpenApi {
    table().1
}

/// The whole server as one axum router. Every request must carry a [`Connection`](crate::Connection) as an extension.
pub fn router(face: &Face) -> Router {
    let face = face.0.clone();
    let (api, _) = table();
    let layers = ServiceBuilder::new()
        .layer(from_fn_with_state(face.clone(), access_log::log))
        .layer(from_fn_with_state(face.clone(), guard::guard))
        .layer(from_fn_with_state(face.clone(), bounds::bound))
        .layer(from_fn(name_method));
    api.fallback(ui::serve).layer(layers).with_state(face)
}

/// Turns axum's bare 405 into a problem that keeps the `Allow` header.
async fn name_method(request: Request, next: axum::middleware::Next) -> Response {
    let method = request.method().to_string();
    let response = next.run(request).await;
    if response.status() != axum::http::StatusCode::METHOD_NOT_ALLOWED {
        return response;
    }
    let mut problem = Failure::Method { method }.into_response();
    if let Some(allow) = response.headers().get(axum::http::header::ALLOW) {
        problem.headers_mut().insert(axum::http::header::ALLOW, allow.clone());
    }
    problem
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// What axum's own `Debug` says of the paths it holds.
    fn routed() -> BTreeSet<String> {
        let debug = format!("{:?}", table().0);
        let quoted = debug.split('"').filter(|part| part.starts_with('/') && !part.contains(' '));
        // "/" and what is private belong to the fallback, which is the page.
        quoted
            .filter(|path| *path != "/" && !path.contains("__private"))
            .map(|path| path.replace("{*", "{"))
            .collect()
    }

    #[test]
    fn every_route_is_documented_and_every_documented_route_is_there() {
        let documented: BTreeSet<String> = document().paths.paths.keys().cloned().collect();
        assert!(documented.len() > 30, "{documented:?}");
        assert_eq!(routed(), documented);
    }
}
