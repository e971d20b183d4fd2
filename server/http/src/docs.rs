//! The documentation of the REST interface: the OpenAPI document, and a page of our own that draws it.
//!
//! The page is three small files rather than one of the known viewers: those carry a megabyte of script and set styles
//! from script, which the page's policy forbids.

use std::sync::{Arc, OnceLock};

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{Html, IntoResponse, Response};
use bytes::Bytes;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::extract::Path;
use crate::face::Shared;
use crate::failure::Failure;
use crate::openapi::ProblemAnswer;
use crate::routes;

const PAGE: &str = include_str!("../static/docs.html");

/// Files beside the page: name, media type, content.
const FILES: [(&str, &str, &str); 2] = [
    ("docs.css", "text/css; charset=utf-8", include_str!("../static/docs.css")),
    ("docs.js", "text/javascript; charset=utf-8", include_str!("../static/docs.js")),
];

/// The OpenAPI document.
#[utoipa::path(get, path = "/api/openapi.json", tag = "documentation", security(()), responses(
    (status = 200, description = "OpenAPI 3.1", content_type = "application/json"),
))]
pub(crate) async fn document(State(face): State<Arc<Shared>>) -> Response {
    static TEXT: OnceLock<Bytes> = OnceLock::new();
    let text = TEXT.get_or_init(|| {
        let mut document = routes::document();
        document.info.version = format!("v1 (server {})", face.settings.version);
        document.to_json().expect("the document is plain data and always serialises").into()
    });
    ([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-cache")], text.clone())
        .into_response()
}

/// The documentation page.
#[utoipa::path(get, path = "/api/docs", tag = "documentation", security(()), responses(
    (status = 200, description = "a page", content_type = "text/html"),
))]
pub(crate) async fn page() -> Response {
    ([(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"))], Html(PAGE)).into_response()
}

/// `/api/docs/{file}`
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct FilePath {
    /// `docs.js` or `docs.css`
    file: String,
}

/// A file of the documentation page.
#[utoipa::path(get, path = "/api/docs/{file}", tag = "documentation", security(()), params(FilePath), responses(
    (status = 200, description = "script or style"),
    (status = 404, response = inline(ProblemAnswer)),
))]
pub(crate) async fn asset(Path(path): Path<FilePath>) -> Result<Response, Failure> {
    let found = FILES.iter().find(|(name, ..)| *name == path.file);
    let (_, content_type, content) = found.ok_or(Failure::NoRoute)?;
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok((headers, *content).into_response())
}
