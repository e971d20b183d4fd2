//! The OpenAPI document: its frame, its tags, how one signs in. The operations come from the handlers.

use neptune_wire::query::{Axis, Edges, PointOrder, Scale};
use neptune_wire::{AttemptNumber, ChannelName, Code, Digest, JobRef, Problem, ProjectKey};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{OpenApi, PathItem};
use utoipa::{OpenApi as _, ToResponse};

/// Every refusal is an RFC 9457 problem: branch on `code`, show `detail`.
#[derive(ToResponse)]
#[response(
    description = "a problem document: branch on `code`, show `detail`",
    content_type = "application/problem+json"
)]
pub(crate) struct ProblemAnswer(#[expect(dead_code, reason = "only its schema is used")] Problem);

const ABOUT: &str = "Everything Neptune knows and does, by HTTP.

Ids go into the path, changes are `PATCH`, lists are pages (`limit`, `cursor` -> `items`, `next`). Times are microseconds \
since the epoch, UTC, in names ending `_micros`. NaN and infinities are the strings \"NaN\", \"Infinity\", \"-Infinity\". \
Creates may be repeated: the same id or name answers the first result. Every refusal is a problem document.

A change must carry `Content-Type: application/json` or `application/octet-stream`, or the header `Neptune-Client`. On \
loopback no token is needed; elsewhere send `Authorization: Bearer TOKEN`. Metrics and logs arrive by WebSocket; their \
messages and the binary layouts are described in docs/protocol.md.";

#[derive(utoipa::OpenApi)]
#[openapi(
    // What only parameters name is not collected from the handlers.
    components(schemas(Problem, Code, AttemptNumber, ChannelName, Digest, JobRef, ProjectKey, Axis, Edges, PointOrder, Scale)),
    security((), ("bearer" = []), ("cookie" = [])),
    tags(
        (name = "projects", description = "Folders of jobs; a project's key begins its jobs' ids"),
        (name = "jobs", description = "Register, list, change and abort"),
        (name = "attempts", description = "One try of a job, and its token"),
        (name = "channels", description = "Named series of points"),
        (name = "points", description = "Numbers, exact or as an envelope"),
        (name = "text", description = "Text channels and logs"),
        (name = "images", description = "Image channels"),
        (name = "charts", description = "Channels drawn together"),
        (name = "blobs", description = "Bytes by digest"),
        (name = "snapshots", description = "Source trees by content"),
        (name = "imports", description = "Taking in what another server exported"),
        (name = "sockets", description = "WebSockets"),
        (name = "server", description = "The server, and signing in"),
        (name = "operation", description = "For those who run it"),
        (name = "documentation", description = "This document"),
    )
)]
struct Frame;

/// The document without operations.
pub(crate) fn frame() -> OpenApi {
    let mut document = Frame::openapi();
    document.info.title = "Neptune".into();
    document.info.description = Some(ABOUT.into());
    document.info.version = "v1".into();
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("made by `neptune-server token create`, or by claiming a job"));
    let cookie =
        ApiKeyValue::with_description("neptune", "set by `POST /api/v1/login`; `__Host-neptune` under TLS");
    let components = document.components.get_or_insert_default();
    components.add_security_scheme("bearer", SecurityScheme::Http(bearer.build()));
    components.add_security_scheme("cookie", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
    document
}

/// Makes the collected document one that other tools read: axum's `{*path}` is `{path}` to them.
pub(crate) fn finish(mut document: OpenApi) -> OpenApi {
    let paths = std::mem::take(&mut document.paths.paths);
    document.paths.paths =
        paths.into_iter().map(|(path, item): (String, PathItem)| (path.replace("{*", "{"), item)).collect();
    document
}

#[cfg(test)]
mod tests {
    use crate::routes::document;
    use serde_json::Value;

    /// Every `$ref` leads somewhere, every operation has an id, a summary and a tag that is described.
    #[test]
    fn the_document_is_whole() {
        let document = serde_json::to_value(document()).unwrap();
        let mut references = Vec::new();
        collect(&document, &mut references);
        assert!(references.len() > 100);
        for reference in references {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
        }
        let tags: Vec<_> = document["tags"].as_array().unwrap().iter().map(|tag| &tag["name"]).collect();
        let mut ids = std::collections::HashSet::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let place = format!("{method} {path}");
                assert!(
                    operation["summary"].as_str().is_some_and(|text| text.ends_with(|c: char| c != ' ')),
                    "{place}"
                );
                assert!(ids.insert(operation["operationId"].to_string()), "{place}: id twice");
                assert!(tags.contains(&&operation["tags"][0]), "{place}: tag {}", operation["tags"][0]);
                let named = path.split('{').skip(1).map(|rest| rest.split('}').next().unwrap());
                for name in named {
                    let parameters = operation["parameters"].as_array().unwrap();
                    assert!(parameters.iter().any(|parameter| parameter["name"] == name), "{place}: {name}");
                }
            }
        }
    }

    fn collect(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                found.extend(map.get("$ref").and_then(Value::as_str).map(str::to_owned));
                map.values().for_each(|value| collect(value, found));
            }
            Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
            _ => {}
        }
    }
}
