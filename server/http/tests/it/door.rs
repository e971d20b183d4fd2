//! Who is let in, and what every answer carries.

use axum::body::Body;
use axum::http::Request;
use expect_test::expect;
use neptune_http::Settings;
use serde_json::json;

use crate::world::{World, admin_token, open};

#[tokio::test]
async fn foreign_pages_are_refused_and_told_why() {
    let world = World::new().await;
    let rebound = world.get_with("/api/v1/jobs", "host", "evil.example:8420").await.expect(421);
    expect![[r#"421 foreign-host [host] this server does not answer for "evil.example:8420"; if the name is its own, start it with --public-host evil.example:8420"#]]
        .assert_eq(&rebound.problem());
    let foreign = world.get_with("/api/v1/jobs", "origin", "https://evil.example").await.expect(403);
    expect![[r#"403 foreign-origin [origin] a page of "https://evil.example" may not use this server; only pages it served itself may"#]]
        .assert_eq(&foreign.problem());
    world.get_with("/api/v1/jobs", "origin", "http://localhost:8420").await.expect(200);
    // The page itself is not shown under a foreign name either.
    world.get_with("/", "host", "evil.example").await.expect(421);
}

#[tokio::test]
async fn a_change_that_a_form_could_send_is_refused() {
    let world = World::new().await;
    let project = json!({"key": "FORM", "name": "Form"}).to_string();
    let send = |name: &str, value: &str| {
        let request = Request::post("/api/v1/projects").header(name, value);
        world.send(request.body(Body::from(project.clone())).unwrap())
    };
    let plain = send("content-type", "text/plain").await.expect(415);
    expect![[r#"415 unsupported-media-type [content-type] a change must carry content-type application/json or application/octet-stream, or the header Neptune-Client"#]]
        .assert_eq(&plain.problem());
    world.get("/api/v1/projects/FORM").await.expect(404);
    send("neptune-client", "curl").await.expect(201);
    send("content-type", "application/json").await.expect(201);
}

#[tokio::test]
async fn every_answer_is_dressed() {
    let world = World::new().await;
    for path in ["/", "/health", "/api/v1/jobs", "/api/v1/nothing", "/api/docs", "/assets/none.js"] {
        let answer = world.get(path).await;
        let policy = answer.header("content-security-policy");
        assert!(
            policy.starts_with("default-src 'none'; script-src 'self' 'wasm-unsafe-eval';"),
            "{path}: {policy}"
        );
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("cross-origin-resource-policy"), "same-origin", "{path}");
        assert_eq!(answer.header("referrer-policy"), "no-referrer", "{path}");
        assert_eq!(answer.header("x-request-id").len(), 16, "{path}");
    }
    // Refused at the door, dressed all the same.
    let refused = world.get_with("/", "host", "evil.example").await;
    assert_eq!(refused.header("x-content-type-options"), "nosniff");
    assert_eq!(refused.header("x-request-id").len(), 16);
}

#[tokio::test]
async fn without_an_open_loopback_a_token_is_needed() {
    let closed = Settings { open_on_loopback: false, ..open() };
    let world = World::with(closed).await;
    let nobody = world.get("/api/v1/jobs").await.expect(401);
    assert!(nobody.header("www-authenticate").starts_with("Bearer"));
    expect!["401 unauthorized [] a valid token is needed"].assert_eq(&nobody.problem());
    // What says how to get in needs no token.
    for path in ["/health", "/ready", "/api/v1/server", "/api/docs", "/api/openapi.json"] {
        world.get(path).await.expect(200);
    }
    world.get("/metrics").await.expect(401);
    assert_eq!(world.get("/api/v1/server").await.json()["access"], "token");

    let token = admin_token(&world.engine).await;
    world.as_bearer(&token).get("/api/v1/jobs").await.expect(200);
    world.as_bearer(&token).get("/metrics").await.expect(200);
    world.as_bearer("made-up").get("/api/v1/jobs").await.expect(401);
    world.get_with("/api/v1/jobs", "authorization", "Basic abc").await.expect(400);
}

#[tokio::test]
async fn a_login_is_a_cookie_that_scripts_do_not_see() {
    let world = World::with(Settings { open_on_loopback: false, ..open() }).await;
    world.post("/api/v1/login", json!({"token": "made-up"})).await.expect(401);
    let token = admin_token(&world.engine).await;
    let answer = world.post("/api/v1/login", json!({"token": token})).await.expect(204);
    let cookie = answer.header("set-cookie");
    assert!(cookie.contains("; HttpOnly; SameSite=Strict"), "{cookie}");
    let pair = cookie.split(';').next().unwrap();
    world.get_with("/api/v1/jobs", "cookie", pair).await.expect(200);

    let answer = world.call("POST", "/api/v1/logout", json!({})).await.expect(204);
    assert!(answer.header("set-cookie").contains("neptune=; Path=/; Max-Age=0"));
}

#[tokio::test]
async fn an_open_loopback_is_open_to_this_machine_alone() {
    let world = World::new().await.from("192.168.1.9:5000");
    world.get("/api/v1/jobs").await.expect(401);
    // A cookie of another server on this machine does not lock anyone out; a wrong token in the header does.
    let local = World::new().await;
    local.get_with("/api/v1/jobs", "cookie", "neptune=of-another-server").await.expect(200);
    local.as_bearer("made-up").get("/api/v1/jobs").await.expect(401);
}

#[tokio::test]
async fn an_attempt_reaches_its_own_job() {
    let world = World::new().await;
    let token = world.with_running_job().await;
    let attempt = world.as_bearer(&token);
    attempt.get("/api/v1/jobs/TRIG-1").await.expect(200);
    attempt.call("PATCH", "/api/v1/jobs/TRIG-1", json!({"add_tags": ["mine"]})).await.expect(200);
    world.post("/api/v1/jobs", json!({"project": "TRIG", "name": "other"})).await.expect(201);
    attempt.call("PATCH", "/api/v1/jobs/TRIG-2", json!({"name": "stolen"})).await.expect(403);
    attempt.post("/api/v1/projects", json!({"key": "MINE", "name": "x"})).await.expect(403);
}
