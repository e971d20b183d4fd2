//! The web page's files, embedded when the server is built, compressed then and never again.
//!
//! Every path that is neither a file nor under `/api` or `/assets` answers the page itself, which knows its own routes.

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::download::is_known;
use crate::failure::Failure;

/// One file of the page, in the forms in which it is sent.
pub(crate) struct PageFile {
    path: &'static str,
    content_type: &'static str,
    etag: &'static str,
    immutable: bool,
    plain: &'static [u8],
    br: Option<&'static [u8]>,
    gzip: Option<&'static [u8]>,
}

static FILES: &[PageFile] = include!(concat!(env!("OUT_DIR"), "/page.rs"));

/// Shown instead of the page when the server was built without one.
const MISSING: &str = include_str!("../static/missing.html");
const INDEX: &str = "index.html";

/// Whether this binary carries the web page.
pub fn has_page() -> bool {
    !FILES.is_empty()
}

/// Answers every path that no route takes.
pub(crate) async fn serve(request: Request) -> Response {
    let path = request.uri().path().trim_start_matches('/');
    let below =
        |folder: &str| path == folder || path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
    if below("api") {
        return Failure::NoRoute.into_response();
    }
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        let mut response = Failure::Method { method: request.method().to_string() }.into_response();
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match find(FILES, path) {
        Some(file) => send(file, request.headers()),
        None if below("assets") => Failure::NoRoute.into_response(),
        None => find(FILES, INDEX).map_or_else(missing, |index| send(index, request.headers())),
    }
}

fn find<'a>(files: &'a [PageFile], path: &str) -> Option<&'a PageFile> {
    files.iter().find(|file| file.path == path)
}

fn missing() -> Response {
    let headers = [(header::CONTENT_TYPE, "text/html; charset=utf-8"), (header::CACHE_CONTROL, "no-store")];
    (StatusCode::NOT_FOUND, headers, MISSING).into_response()
}

/// A file in the best form the client takes; each form has a tag of its own.
fn send(file: &PageFile, asked: &HeaderMap) -> Response {
    let (bytes, encoding) = best_form(file, asked);
    let suffix = encoding.map_or(String::new(), |encoding| format!("-{encoding}"));
    let etag = HeaderValue::from_str(&format!("\"{}{suffix}\"", file.etag)).expect("a tag is hexadecimal");
    let fresh = if file.immutable { "public, max-age=31536000, immutable" } else { "no-cache" };

    let known = is_known(asked, &etag);
    let mut response = if known { StatusCode::NOT_MODIFIED.into_response() } else { bytes.into_response() };
    let headers = response.headers_mut();
    headers.insert(header::ETAG, etag);
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(fresh));
    if known {
        headers.remove(header::CONTENT_TYPE);
        return response;
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(file.content_type));
    if let Some(encoding) = encoding {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
    }
    response
}

fn best_form(file: &PageFile, asked: &HeaderMap) -> (&'static [u8], Option<&'static str>) {
    let forms = [("br", file.br), ("gzip", file.gzip)];
    let taken = forms.into_iter().find(|(name, form)| form.is_some() && takes(asked, name));
    taken.and_then(|(name, form)| Some((form?, Some(name)))).unwrap_or((file.plain, None))
}

/// Whether `Accept-Encoding` names the encoding with a weight above zero.
fn takes(asked: &HeaderMap, encoding: &str) -> bool {
    let lines = asked.get_all(header::ACCEPT_ENCODING).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|part| {
        let mut fields = part.split(';').map(str::trim);
        let named = fields.next().is_some_and(|name| name.eq_ignore_ascii_case(encoding));
        named && !fields.any(|field| field.strip_prefix("q=").is_some_and(|q| q.parse() == Ok(0.0)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: PageFile = PageFile {
        path: "assets/main-ABC.js",
        content_type: "text/javascript; charset=utf-8",
        etag: "0123",
        immutable: true,
        plain: b"plain",
        br: Some(b"br"),
        gzip: Some(b"gz"),
    };

    fn check(pairs: &[(header::HeaderName, &str)], status: u16, etag: &str, encoding: Option<&str>) {
        let mut asked = HeaderMap::new();
        for (name, value) in pairs {
            asked.append(name, value.parse().unwrap());
        }
        let response = send(&FILE, &asked);
        assert_eq!(response.status(), status);
        assert_eq!(response.headers()[header::ETAG], etag);
        let found = response.headers().get(header::CONTENT_ENCODING).map(|value| value.to_str().unwrap());
        assert_eq!(found, encoding);
        assert!(response.headers()[header::CACHE_CONTROL].to_str().unwrap().contains("immutable"));
    }

    #[test]
    fn a_file_is_sent_in_the_best_form_or_not_at_all() {
        let accept = header::ACCEPT_ENCODING;
        check(&[], 200, "\"0123\"", None);
        check(&[(accept.clone(), "gzip, deflate, br, zstd")], 200, "\"0123-br\"", Some("br"));
        check(&[(accept.clone(), "gzip")], 200, "\"0123-gzip\"", Some("gzip"));
        check(&[(accept.clone(), "br;q=0, gzip")], 200, "\"0123-gzip\"", Some("gzip"));
        check(&[(accept.clone(), "identity")], 200, "\"0123\"", None);
        let tag = header::IF_NONE_MATCH;
        check(&[(accept.clone(), "br"), (tag.clone(), "\"0123-br\"")], 304, "\"0123-br\"", None);
        check(&[(accept.clone(), "br"), (tag.clone(), "W/\"x\", W/\"0123-br\"")], 304, "\"0123-br\"", None);
        check(&[(accept, "gzip"), (tag, "\"0123-br\"")], 200, "\"0123-gzip\"", Some("gzip"));
    }
}
