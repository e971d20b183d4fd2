//! Configuration and the verbs that end by themselves.

use std::fs;

use tempfile::tempdir;

use crate::server::{Server, command, run};

#[test]
fn every_setting_is_printed_with_its_origin() {
    let folder = tempdir().unwrap();
    fs::write(
        folder.path().join("c.toml"),
        "listen = \"127.0.0.1:1\"\nlog_format = \"json\"\npublic_hosts = [\"a.example\"]\n",
    )
    .unwrap();
    let output = command(folder.path())
        .args(["--config", "c.toml", "--log-format", "text", "--print-config"])
        .env("NEPTUNE_SERVER_LOG", "warn")
        .env("NEPTUNE_SERVER_PUBLIC_HOSTS", "b.example, c.example:8443")
        .output()
        .unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    for line in [
        "data = \"./neptune-data\"  # default",
        "listen = \"127.0.0.1:1\"  # file c.toml",
        "log = \"warn\"  # environment NEPTUNE_SERVER_LOG",
        "log_format = \"text\"  # flag --log-format",
        "public_hosts = [\"b.example\", \"c.example:8443\"]  # environment NEPTUNE_SERVER_PUBLIC_HOSTS",
        "# tls_key is not set",
    ] {
        assert!(printed.lines().any(|printed| printed == line), "{line} is not in\n{printed}");
    }
    // What is printed is a file that gives the same.
    fs::write(folder.path().join("again.toml"), &printed).unwrap();
    let (code, again, errors) = run(folder.path(), &["--config", "again.toml", "--print-config"]);
    let values = |text: &str| {
        text.lines().map(|line| line.split("  #").next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!((code, values(&again)), (0, values(&printed)), "{errors}");
}

#[test]
fn the_page_about_the_server_names_every_setting() {
    let page = include_str!("../../../../docs/server.md");
    let folder = tempdir().unwrap();
    let (_, printed, _) = run(folder.path(), &["--print-config"]);
    let keys = printed.lines().map(|line| line.trim_start_matches("# ").split(' ').next().unwrap());
    for key in keys {
        assert!(page.contains(&format!("`{key}`")), "docs/server.md does not name {key}");
    }
}

#[test]
fn what_is_wrong_in_the_configuration_is_named() {
    let folder = tempdir().unwrap();
    let check = |file: &str, arguments: &[&str], wanted: &str| {
        fs::write(folder.path().join("c.toml"), file).unwrap();
        let (code, _, errors) = run(folder.path(), &[&["--config", "c.toml"], arguments].concat());
        assert_eq!(code, 2, "{errors}");
        assert!(errors.contains(wanted), "{wanted} is not in {errors}");
    };
    check("lissen = \"x\"", &[], "lissen (file c.toml): unknown setting, the settings are data, listen,");
    check("listen = [\"127.0.0.1:1\"]", &[], "listen (file c.toml): must be one value, not a list");
    check("public_hosts = \"a\"", &[], "public_hosts (file c.toml): must be a list, in brackets");
    check("listen = ", &[], "config (file c.toml): TOML parse error at line 1, column 10");
    check(
        "",
        &["--listen", "8420"],
        "listen (flag --listen): \"8420\" must be an address and a port, such as 127.0.0.1:8420",
    );
    check("", &["--cache-bytes", "1"], "must be a whole number from 1048576 to");
    check("", &["--tls-key", "k.pem"], "tls_key (flag --tls-key): needs tls_certificate beside it");
    check("", &["--trusted-proxy", "proxy"], "\"proxy\" must be an address or a range such as 10.0.0.0/8");
    check("", &["--log", "a=b=c"], "log (flag --log): \"a=b=c\" must be error, warn, info, debug");

    let output = command(folder.path()).env("NEPTUNE_SERVER_LISTN", "x").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains("listn (environment NEPTUNE_SERVER_LISTN): unknown setting"), "{errors}");
}

#[test]
fn beyond_loopback_there_is_encryption_and_a_token() {
    let folder = tempdir().unwrap();
    let (code, _, errors) = run(folder.path(), &["--listen", "0.0.0.0:0"]);
    assert_eq!(code, 1);
    assert!(
        errors.contains("neptune-server --listen 0.0.0.0:0 --tls-certificate FILE --tls-key FILE"),
        "{errors}"
    );
    assert!(!folder.path().join("neptune-data").exists(), "refused before anything is made");

    let (code, _, errors) = run(folder.path(), &["--listen", "0.0.0.0:0", "--trusted-proxy", "10.0.0.1"]);
    assert_eq!(code, 1);
    assert!(errors.contains("neptune-server token create --data ./neptune-data"), "{errors}");
    // Behind a proxy on this machine likewise: the proxy's clients are not this machine.
    let (code, _, errors) = run(folder.path(), &["--listen", "127.0.0.1:0", "--trusted-proxy", "127.0.0.1"]);
    assert_eq!(code, 1);
    assert!(errors.contains("behind a proxy a token is needed"), "{errors}");
}

#[test]
fn a_token_is_made_while_the_server_is_stopped() {
    let folder = tempdir().unwrap();
    let (code, token, errors) = run(folder.path(), &["token", "create", "--name", "me", "--data", "d"]);
    assert_eq!(code, 0, "{errors}");
    let token = token.trim_end();
    assert!(token.len() >= 64 && token.bytes().all(|byte| byte.is_ascii_graphic()), "{token:?}");

    let server = Server::start(folder.path(), &["--data", "d", "--trusted-proxy", "127.0.0.1"]);
    assert_eq!(server.get("/api/v1/jobs").0, 401);
    let bearer = format!("Bearer {token}");
    assert_eq!(server.ask("GET", "/api/v1/jobs", &[("authorization", &bearer)], "").0, 200);
    assert!(server.log().lines().all(|line| !line.contains(token)), "a token is in the log");

    // A running server has the folder for itself and says who it is.
    let held = format!("held by process {}; stop it first (kill {0})", server.child.id());
    for arguments in [&["token", "create", "--data", "d"][..], &["--data", "d", "--listen", "127.0.0.1:0"]] {
        let (code, output, errors) = run(folder.path(), arguments);
        assert_eq!((code, output.as_str()), (1, ""), "{errors}");
        assert!(errors.contains(&held), "{held} is not in {errors}");
    }
    server.stop();
}

#[test]
fn a_check_reads_everything_and_tells_what_has_changed() {
    let folder = tempdir().unwrap();
    let (code, _, errors) = run(folder.path(), &["check"]);
    assert_eq!(code, 1);
    assert!(!folder.path().join("neptune-data").exists(), "a check makes nothing");
    assert!(errors.contains("there is no store in ./neptune-data"), "{errors}");

    let server = Server::start(folder.path(), &[]);
    assert_eq!(server.post("/api/v1/projects", "{\"key\": \"TRIG\", \"name\": \"x\"}").0, 201);
    // BLAKE3 of "bytes".
    let digest = "df19b1f105ff929191ce49d0bbfdc5b4edc2a71a40f502dc955359eb33649e24";
    let headers = [("content-type", "application/octet-stream")];
    assert_eq!(server.ask("PUT", &format!("/api/v1/projects/TRIG/blobs/{digest}"), &headers, "bytes").0, 204);
    let manifest =
        format!("{{\"files\": [{{\"path\": \"a\", \"digest\": \"{digest}\", \"size_bytes\": 5}}]}}");
    let (_, receipt) = server.post("/api/v1/projects/TRIG/snapshots", &manifest);
    let snapshot = receipt.split("\"snapshot\":\"").nth(1).unwrap().split('"').next().unwrap();
    let job = format!("{{\"project\": \"TRIG\", \"name\": \"sine\", \"snapshot\": \"{snapshot}\"}}");
    assert_eq!(server.post("/api/v1/jobs", &job).0, 201);
    assert_eq!(server.post("/api/v1/jobs/TRIG-1/points", "{\"loss\": [[1, 0.5, 7], [2, 0.25, 8]]}").0, 200);
    let (code, _, errors) = run(folder.path(), &["check"]);
    assert_eq!(code, 1);
    assert!(errors.contains("held by process"), "{errors}");
    server.stop();

    let (code, told, errors) = run(folder.path(), &["check"]);
    assert_eq!(code, 0, "{told}{errors}");
    assert!(
        told.contains(" 1 frames with 2 points, ")
            && told.contains(", 2 blobs of ")
            && told.ends_with(": all as written\n"),
        "{told}"
    );

    let blob = folder.path().join("neptune-data/blobs").join(&digest[..2]).join(&digest[2..4]).join(digest);
    fs::write(blob, "bytEs").unwrap();
    let (code, told, _) = run(folder.path(), &["check"]);
    assert_eq!(code, 1);
    assert!(
        told.starts_with(&format!("blob {digest} has changed")) && told.ends_with(": 1 damaged\n"),
        "{told}"
    );
}
