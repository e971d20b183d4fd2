//! The REST interface over a real engine.

use std::io::Read as _;

use axum::body::Body;
use axum::http::Request;
use expect_test::{Expect, expect};
use neptune_wire::SessionId;
use neptune_wire::columns::{self, Data};
use neptune_wire::frame::FrameBuilder;
use serde_json::{Value, json};

use crate::world::World;

/// Sends a request of the form `METHOD path` and compares the problem that answers it.
async fn check(world: &World, request: &str, expected: Expect) {
    let (method, path) = request.split_once(' ').unwrap();
    expected.assert_eq(&world.call(method, path, Value::Null).await.problem());
}

#[tokio::test]
async fn what_is_wrong_with_an_address_is_named() {
    let w = &World::new().await;
    w.with_running_job().await;
    check(
        w,
        "GET /api/v1/jobz",
        expect!["404 no-route [] no such address; the addresses are listed at /api/docs"],
    )
    .await;
    check(
        w,
        "DELETE /api/v1/jobs",
        expect!["405 method-not-allowed [] this address does not take DELETE; /api/docs lists what it takes"],
    )
    .await;
    check(w, "GET /api/v1/jobs/trig", expect![[r#"400 invalid-field [id] "trig" is not a job id such as TRIG-12 or a job uid (32 hexadecimal digits)"#]]).await;
    check(w, "GET /api/v1/jobs/TRIG-9", expect!["404 unknown-job [job] no job TRIG-9"]).await;
    check(w, "GET /api/v1/projects/NONE", expect!["404 unknown-project [project] no project NONE"]).await;
    check(w, "GET /api/v1/jobs?limt=3", expect!["400 invalid-field [limt] unknown field `limt`, expected one of `project`, `search`, `tags`, `states`, `deleted`, `filter`, `columns`, `group`, `sort`, `limit`, `cursor`"]).await;
    check(
        w,
        "GET /api/v1/jobs?limit=many",
        expect!["400 invalid-field [limit] must be a whole number, not negative"],
    )
    .await;
    check(w, "GET /api/v1/jobs/TRIG-1/snapshot", expect!["404 unknown-snapshot [snapshot] no such snapshot"])
        .await;
    check(
        w,
        "GET /api/v1/attempts/TRIG-1/x",
        expect!["400 invalid-field [attempt] must be a whole number, not negative"],
    )
    .await;
    check(
        w,
        "GET /api/v1/jobs/TRIG-1/channels/%FF/points",
        expect!["400 invalid-field [path] Invalid UTF-8 in `name`"],
    )
    .await;
    let answer = w.call("DELETE", "/api/v1/jobs", Value::Null).await;
    assert_eq!(answer.header("allow"), "GET,HEAD,POST");
}

#[tokio::test]
async fn what_is_wrong_with_a_body_is_named() {
    let world = World::new().await;
    world.with_running_job().await;
    let check = async |body: Value, expected: Expect| {
        expected.assert_eq(&world.post("/api/v1/projects", body).await.problem());
    };
    check(json!({"key": "TRIG"}), expect!["400 invalid-field [] missing field `name` at line 1 column 14"])
        .await;
    check(json!({"key": "trig", "name": "Trigonometry"}), expect![[r#"400 invalid-field [key] project key "trig": must be 1 to 16 upper-case letters or digits, starting with a letter, such as TRIG at line 1 column 13"#]]).await;
    check(
        json!({"key": "TRIG", "name": "Trigonometry", "colour": "red"}),
        expect![
            "400 invalid-field [colour] unknown field `colour`, expected `key` or `name` at line 1 column 9"
        ],
    )
    .await;
    check(
        json!({"key": "TRIG", "name": "Another"}),
        expect![[r#"409 taken [] project key is taken: the project named "Trigonometry""#]],
    )
    .await;
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_before_it_is_read() {
    let world = World::new().await;
    let request = Request::post("/api/v1/projects")
        .header("content-type", "application/json")
        .header("content-length", "99999999999")
        .body(Body::empty());
    let answer = world.send(request.unwrap()).await.expect(413);
    expect!["413 too-large [] the body is over the limit of 2097152 bytes"].assert_eq(&answer.problem());
    // Without a length it is cut while it comes.
    let endless = futures::stream::repeat_with(|| Ok::<_, std::io::Error>(vec![b' '; 1 << 20]));
    let request = Request::post("/api/v1/projects").header("content-type", "application/json");
    world.send(request.body(Body::from_stream(endless)).unwrap()).await.expect(413);
}

#[tokio::test]
async fn a_job_lives_from_create_to_exit() {
    let world = World::new().await;
    world.with_running_job().await;
    let page = world.get("/api/v1/jobs?states=running&tags=").await.expect(200).json();
    assert_eq!((&page["total"], &page["items"][0]["id"]), (&json!(1), &json!("TRIG-1")));

    let again = json!({"project": "TRIG", "name": "sine", "uid": "0f".repeat(16)});
    assert_eq!(world.post("/api/v1/jobs", again).await.expect(201).json()["id"], "TRIG-1");

    let patch = json!({"tags": ["b", "a"], "properties": {"seed": "7"}});
    let job = world.call("PATCH", "/api/v1/jobs/TRIG-1", patch).await.expect(200).json();
    assert_eq!((&job["tags"], &job["properties"]["seed"]), (&json!(["a", "b"]), &json!("7")));

    let exit = json!({"how": {"kind": "code", "code": 3}, "ended_micros": 9});
    let job = world.call("PUT", "/api/v1/attempts/TRIG-1/1/exit", exit).await.expect(200).json();
    assert_eq!((&job["state"], &job["exit_code"]), (&json!("failed"), &json!(3)));
    let attempt = world.get("/api/v1/attempts/TRIG-1/1").await.expect(200).json();
    assert_eq!(attempt["exit"]["how"]["code"], 3);
    // An ended job stays as it is; the body may be left out.
    let request = Request::post("/api/v1/jobs/TRIG-1/abort").header("neptune-client", "test");
    let job = world.send(request.body(Body::empty()).unwrap()).await.expect(200).json();
    assert_eq!(job["state"], "failed");
}

#[tokio::test]
async fn points_come_back_as_json_csv_and_columns() {
    let world = World::new().await;
    world.with_running_job().await;
    let points =
        json!({"loss": [[1, 0.5, 10], [2, "NaN", 20], [3, "-Infinity", 30]], "note": [[1, "hello", 5]]});
    let path = "/api/v1/jobs/TRIG-1/points";
    let unkeyed = world.post(path, points.clone()).await.expect(400);
    assert!(unkeyed.problem().starts_with("400 invalid-field [idempotency-key] "), "{}", unkeyed.problem());
    let post = || {
        let request =
            Request::post(path).header("content-type", "application/json").header("idempotency-key", "k1");
        world.send(request.body(Body::from(points.to_string())).unwrap())
    };
    assert_eq!(post().await.expect(200).json(), json!({"points": 4, "repeated": false}));
    assert!(post().await.expect(200).json()["repeated"].as_bool().unwrap());

    let path = "/api/v1/jobs/TRIG-1/channels/loss/points";
    let json = world.get(path).await.expect(200).json();
    assert_eq!(json["y"], json!([0.5, "NaN", "-Infinity"]));
    assert_eq!(json["time"], json!([10, 20, 30]));
    let csv = world.get_with(path, "accept", "text/csv").await.expect(200);
    assert_eq!(csv.body, "x,y,time\r\n1.0,0.5,10\r\n2.0,NaN,20\r\n3.0,-Infinity,30\r\n");
    let binary = world.get_with(path, "accept", columns::COLUMNS).await.expect(200);
    let tables = columns::decode(&binary.body).unwrap();
    assert_eq!(tables[0].find_column("time"), Some(&Data::I64(vec![10, 20, 30])));

    let first = world.get(&format!("{path}?limit=2")).await.expect(200);
    assert_eq!(first.json()["x"], json!([1.0, 2.0]));
    let link = first.header("link").split('>').next().unwrap().trim_start_matches('<').to_owned();
    assert_eq!(world.get(&link).await.expect(200).json()["x"], json!([3.0]));

    let lines = world.get("/api/v1/jobs/TRIG-1/channels/note/text?tail=1").await.expect(200).json();
    assert_eq!(lines["lines"][0]["text"], "hello");
    world.get("/api/v1/jobs/TRIG-1/channels/none/points").await.expect(404);
    let channels = world.get("/api/v1/jobs/TRIG-1/channels").await.expect(200).json();
    assert_eq!(channels.as_array().unwrap().len(), 2);
}

/// The documented number of points fits even if each is as long as can be, in JSON and as stored.
#[tokio::test]
async fn as_many_points_as_documented_fit_one_request() {
    let world = World::new().await;
    world.with_running_job().await;
    let post = async |key: &str, body: String| {
        let request = Request::post("/api/v1/jobs/TRIG-1/points")
            .header("content-type", "application/json")
            .header("idempotency-key", key);
        world.send(request.body(Body::from(body)).unwrap()).await
    };
    let point = |at: usize| {
        let number = format!("-1.{:016}e-300", 1_234_567_890_123_456_usize + at * 7);
        format!("[{number},{number},{}]", -9_000_000_000_000_000_000 + at as i64 * 10_000_000_000)
    };
    let channel = |channel: usize| {
        let points: Vec<_> = (0..90).map(|at| point(channel * 90 + at)).collect();
        format!("\"{}{channel:03}\":[{}]", "n".repeat(200), points.join(","))
    };
    let channels: Vec<_> = (0..400).map(channel).collect();
    let body = format!("{{{}}}", channels.join(","));
    assert!(body.len() > 2_700_000, "{}", body.len());
    let answer = post("worst", body).await.expect(200).json();
    assert_eq!(answer, json!({"points": 36_000, "repeated": false}));

    let blanks = " ".repeat(3 << 20);
    let key = "k".repeat(256);
    assert!(post(&format!("{key}k"), "{}".into()).await.expect(400).problem().contains("1 to 256 visible"));
    post(&key, format!("{{}}{}", &blanks[2..])).await.expect(200);
    let longer = post("longer", format!("{{}}{}", &blanks[1..])).await.expect(413);
    expect!["413 too-large [] the body is over the limit of 3145728 bytes"].assert_eq(&longer.problem());
}

#[tokio::test]
async fn an_envelope_comes_as_json_and_as_columns() {
    let world = World::new().await;
    world.with_running_job().await;
    let spike = |step: i64| if step == 77 { 1e6 } else { (step % 10) as f64 };
    let points: Vec<_> = (0..1000).map(|step| json!([step, spike(step), step])).collect();
    let request = Request::post("/api/v1/jobs/TRIG-1/points")
        .header("idempotency-key", "k")
        .header("neptune-client", "t");
    let body = json!({"train/loss": points}).to_string();
    world.send(request.body(Body::from(body)).unwrap()).await.expect(200);

    let path = "/api/v1/envelope?series=TRIG-1/train%2Floss&buckets=10";
    let json = world.get(path).await.expect(200).json();
    let envelope = &json["series"][0];
    let buckets = envelope["max"].as_array().unwrap();
    assert!(buckets.len() <= 10 && buckets.contains(&json!(1e6)), "{buckets:?}");
    let binary = world.get_with(path, "accept", columns::COLUMNS).await.expect(200);
    let tables = columns::decode(&binary.body).unwrap();
    let Some(Data::U64(count)) = tables[0].find_column("count") else { panic!("count is u64") };
    assert_eq!(count.iter().sum::<u64>(), 1000);
    assert_eq!(tables[0].meta["mark"], json!(1000));
    assert_eq!(tables[0].meta["job"], json!("TRIG-1"));
}

#[tokio::test]
async fn blobs_are_checked_and_only_ever_downloaded() {
    let world = World::new().await;
    world.with_running_job().await;
    let digest = world.put_blob(b"<script>alert(1)</script>").await;
    let path = format!("/api/v1/projects/TRIG/blobs/{digest}");
    let answer = world.get(&path).await.expect(200);
    assert_eq!(answer.body, "<script>alert(1)</script>");
    assert_eq!(answer.header("content-type"), "application/octet-stream");
    assert!(answer.header("content-disposition").starts_with("attachment;"));
    assert_eq!(answer.header("content-security-policy"), "default-src 'none'; sandbox");
    assert_eq!(answer.header("content-length"), "25");
    world.get_with(&path, "if-none-match", answer.header("etag")).await.expect(304);

    let other = path.replace(&digest, &"0".repeat(64));
    let wrong =
        Request::put(&other).header("content-type", "application/octet-stream").body(Body::from("other"));
    assert!(
        world.send(wrong.unwrap()).await.expect(422).problem().starts_with("422 digest-differs [digest] ")
    );
    world.get(&format!("/api/v1/projects/TRIG/blobs/{}", "0".repeat(64))).await.expect(404);
    let long = Request::put(&path)
        .header("content-type", "application/octet-stream")
        .header("content-length", "9999999999");
    world.send(long.body(Body::empty()).unwrap()).await.expect(413);
}

#[tokio::test]
async fn a_snapshot_comes_back_as_tree_file_archive_and_diff() {
    let world = World::new().await;
    world.post("/api/v1/projects", json!({"key": "TRIG", "name": "T"})).await.expect(201);
    let long = format!("{}/deep.txt", "folder/".repeat(30).trim_end_matches('/'));
    let snapshot = async |main: &str| {
        let mut files = Vec::new();
        for (path, bytes, mode) in
            [(long.as_str(), "deep", "file"), ("main.py", main, "executable"), ("to", "main.py", "link")]
        {
            let digest = blake3::hash(bytes.as_bytes()).to_hex().to_string();
            files.push(json!({"path": path, "digest": digest, "size_bytes": bytes.len(), "mode": mode}));
        }
        let manifest = json!({"files": files});
        let receipt =
            world.post("/api/v1/projects/TRIG/snapshots", manifest.clone()).await.expect(200).json();
        for bytes in ["deep", main, "main.py"] {
            world.put_blob(bytes.as_bytes()).await;
        }
        let complete = world.post("/api/v1/projects/TRIG/snapshots", manifest).await.expect(200).json();
        assert_eq!(complete["missing"], json!([]));
        let job = json!({"project": "TRIG", "name": "a", "snapshot": receipt["snapshot"]});
        world.post("/api/v1/jobs", job).await.expect(201);
    };
    snapshot("print(1)\n").await;
    snapshot("print(2)\n").await;

    let figures = world.get("/api/v1/jobs/TRIG-1/snapshot").await.expect(200).json();
    assert_eq!(figures["files"], 3);
    let tree = world.get("/api/v1/jobs/TRIG-1/snapshot/tree").await.expect(200).json();
    assert_eq!(tree["files"][1]["path"], "main.py");
    let file = world.get("/api/v1/jobs/TRIG-1/snapshot/file/main.py").await.expect(200);
    assert_eq!(file.body, "print(1)\n");
    assert!(file.header("content-disposition").contains("filename=\"main.py\""));
    world.get("/api/v1/jobs/TRIG-1/snapshot/file/none.py").await.expect(404);
    let diff = world.get("/api/v1/jobs/TRIG-1/snapshot/diff/TRIG-2").await.expect(200).json();
    let unified = diff["files"][0]["unified"].as_str().unwrap();
    assert!(unified.contains("-print(1)\n+print(2)\n"), "{unified}");

    let archive = world.get("/api/v1/jobs/TRIG-1/snapshot/archive").await.expect(200);
    assert!(archive.header("content-disposition").contains("filename=\"TRIG-1.tar.gz\""));
    let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(&archive.body[..]));
    let mut found = Vec::new();
    for entry in tar.entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        let link = entry.link_name().unwrap().map(|path| path.display().to_string());
        let path = entry.path().unwrap().display().to_string();
        found.push((path, entry.header().mode().unwrap(), link.unwrap_or(text)));
    }
    let expected = [
        (format!("TRIG-1/{long}"), 0o644, "deep".to_owned()),
        ("TRIG-1/main.py".to_owned(), 0o755, "print(1)\n".to_owned()),
        ("TRIG-1/to".to_owned(), 0o644, "main.py".to_owned()),
    ];
    assert_eq!(found, expected);
}

#[tokio::test]
async fn a_log_is_downloaded_whole_or_in_part() {
    let world = World::new().await;
    let token = world.with_running_job().await;
    crate::sockets::write_log(&world, &token, b"first line\n\xff\xfesecond\n").await;
    let path = "/api/v1/jobs/TRIG-1/channels/sys%2Fstdout/log";
    let whole = world.get(path).await.expect(200);
    assert_eq!(&whole.body[..], b"first line\n\xff\xfesecond\n");
    assert_eq!(whole.header("accept-ranges"), "bytes");
    let part = world.get_with(path, "range", "bytes=6-9").await.expect(206);
    assert_eq!((&part.body[..], part.header("content-range")), (&b"line"[..], "bytes 6-9/20"));
    assert_eq!(
        world.get_with(path, "range", "bytes=99-").await.expect(416).header("content-range"),
        "bytes */20"
    );
    let lines = world.get("/api/v1/jobs/TRIG-1/channels/sys%2Fstdout/text").await.expect(200).json();
    assert_eq!(lines["lines"][1]["text"], "\u{fffd}\u{fffd}second");
}

#[tokio::test]
async fn imported_frames_say_behind_what_they_go_on() {
    let world = World::new().await;
    world.post("/api/v1/projects", json!({"key": "TRIG", "name": "x"})).await.expect(201);
    let job = json!({
        "id": "TRIG-7", "uid": "0f".repeat(16), "project": "TRIG", "name": "old", "state": "succeeded",
        "created_micros": 1, "ended_micros": 2,
    });
    let import = json!({"job": job, "channels": [{"name": "loss", "kind": "numeric"}]});
    world.post("/api/v1/imports/jobs", import).await.expect(201);
    let send = async |key: &str, query: &str| {
        let mut frame = FrameBuilder::new(SessionId::from_bytes([0; 16]), 1);
        assert_eq!(frame.push_numeric(0, &[1.0, 2.0], &[3.0, 4.0], &[5, 6]), 2);
        let frame = frame.finish();
        let bytes = [&(frame.len() as u32).to_le_bytes()[..], &frame].concat();
        let request = Request::post(format!("/api/v1/imports/jobs/TRIG-7/frames{query}"))
            .header("content-type", "application/octet-stream")
            .header("idempotency-key", key);
        world.send(request.body(Body::from(bytes)).unwrap()).await
    };
    assert_eq!(send("1", "?behind=0").await.expect(200).json()["points"], 2);
    expect!["409 count-differs [behind] the job has 2 points, not 0; read its channels again and go on behind what is there"]
        .assert_eq(&send("2", "?behind=0").await.problem());
    expect!["400 invalid-field [behind] must be a whole number, not negative"]
        .assert_eq(&send("2", "?behind=all").await.problem());
    assert_eq!(send("2", "").await.expect(200).json()["repeated"], false);
    assert_eq!(send("1", "?behind=0").await.expect(200).json()["repeated"], true);
}
