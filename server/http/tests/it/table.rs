//! The job table over REST and the live socket: docs/filter.md is what it answers.

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};

use crate::sockets::Socket;
use crate::world::{Served, World};

async fn append(world: &World, key: &str, points: Value) {
    let request = Request::post("/api/v1/jobs/TRIG-1/points")
        .header("content-type", "application/json")
        .header("idempotency-key", key);
    world.send(request.body(Body::from(points.to_string())).unwrap()).await.expect(200);
}

async fn world_with_two_jobs(world: &World) {
    world.with_running_job().await;
    let lr = json!([{"name": "lr", "type": "double", "value": 0.1}]);
    let job =
        json!({"project": "TRIG", "name": "cosine", "uid": "0e".repeat(16), "params": lr, "tags": ["good"]});
    world.post("/api/v1/jobs", job).await.expect(201);
    append(world, "a", json!({"loss": [[1, 0.5, 1], [2, "NaN", 2]]})).await;
}

#[tokio::test]
async fn rows_groups_and_columns_are_answered() {
    let world = World::new().await;
    world_with_two_jobs(&world).await;
    let get = async |path: &str| world.get(path).await.expect(200).json();
    let rows = get("/api/v1/jobs?columns=name,metric.loss,metric.loss.min,param.lr,tag&sort=name").await;
    assert_eq!(
        rows,
        json!({
            "columns": ["name", "metric.loss.last", "metric.loss.min", "param.lr", "tag"],
            "items": [
                {"id": "TRIG-2", "uid": "0e".repeat(16), "values": ["cosine", null, null, 0.1, ["good"]]},
                {"id": "TRIG-1", "uid": "0f".repeat(16), "values": ["sine", "NaN", 0.5, null, null]},
            ],
            "next": null,
            "total": 2,
        })
    );
    let found =
        get("/api/v1/jobs?filter=metric.loss.min%20%3C%201%20and%20state%20in%20(running,queued)").await;
    assert_eq!((&found["total"], &found["items"][0]["id"]), (&json!(1), &json!("TRIG-1")));
    assert_eq!(found["items"][0]["command"], json!([]), "a whole job");
    let groups = get("/api/v1/jobs?group=state&columns=metric.loss.min&project=TRIG").await;
    assert_eq!(groups["items"][1]["values"], json!(["running"]));
    assert_eq!(groups["items"][1]["filter"], "state = \"running\"");
    assert_eq!(groups["items"][1]["columns"][0]["min_job"], "TRIG-1");
    let columns = get("/api/v1/jobs/columns?project=TRIG&prefix=l").await;
    assert_eq!(
        columns["items"],
        json!([
            {"column": "metric.loss", "kind": "metric", "name": "loss", "jobs": 1},
            {"column": "param.lr", "kind": "param", "name": "lr", "jobs": 1},
        ])
    );
}

#[tokio::test]
async fn a_wrong_filter_is_pointed_at() {
    let world = World::new().await;
    world.with_running_job().await;
    let answer = world.get("/api/v1/jobs?filter=metric.loss%20%3C%20abc").await.expect(400);
    assert_eq!(
        answer.json(),
        json!({
            "code": "invalid-field",
            "title": "invalid field",
            "status": 400,
            "detail": "expected a number such as 0.1, 1e-3 or -inf; found \"abc\"",
            "field": "filter",
            "column": 15,
        })
    );
    let answer = world.get("/api/v1/jobs/columns?project=NONE").await.expect(404);
    assert_eq!(answer.problem(), "404 unknown-project [project] no project NONE");
}

#[tokio::test]
async fn a_viewer_of_rows_hears_what_changes() {
    let served = Served::new().await;
    let world = served.world();
    world_with_two_jobs(&world).await;
    let mut socket = Socket::connect(&served, "/api/v1/live").await;
    let topic =
        json!({"topic": "rows", "project": "TRIG", "filter": "metric.loss > 0.6", "columns": "metric.loss"});
    socket.say(json!({"type": "subscribe", "id": 1, "topic": topic})).await;
    assert_eq!(socket.hear_json().await["type"], "subscribed");
    append(&world, "b", json!({"loss": [[3, 0.75, 3]]})).await;
    let row = json!({"id": "TRIG-1", "uid": "0f".repeat(16), "values": [0.75]});
    assert_eq!(socket.hear_json().await, json!({"type": "row", "id": 1, "row": row, "entered": true}));
    append(&world, "c", json!({"loss": [[4, 0.5, 4]]})).await;
    assert_eq!(socket.hear_json().await, json!({"type": "left", "id": 1, "uid": "0f".repeat(16)}));
    let wrong = json!({"topic": "rows", "filter": "metric.loss >"});
    socket.say(json!({"type": "subscribe", "id": 2, "topic": wrong})).await;
    let problem = socket.hear_json().await;
    assert_eq!((&problem["id"], &problem["problem"]["column"]), (&json!(2), &json!(14)));
}
