//! Backups: whose folder they take, what they keep, what comes back.

use std::fs::{self, Permissions};
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use neptune_kv_rocksdb::{Options, RocksKv};
use neptune_store::key::StoreKey;
use neptune_store::kv::KvRead as _;
use nix::sys::signal::Signal;
use tempfile::tempdir;

use crate::server::{Server, command, run, wait_until};

/// BLAKE3 of "bytes".
const BLOB: &str = "df19b1f105ff929191ce49d0bbfdc5b4edc2a71a40f502dc955359eb33649e24";

/// A stopped server's folder with a job of points and a blob.
fn fill(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    let server = Server::start(folder, &[]);
    assert_eq!(server.post("/api/v1/projects", "{\"key\": \"TRIG\", \"name\": \"x\"}").0, 201);
    let headers = [("content-type", "application/octet-stream")];
    assert_eq!(server.ask("PUT", &format!("/api/v1/projects/TRIG/blobs/{BLOB}"), &headers, "bytes").0, 204);
    assert_eq!(server.post("/api/v1/jobs", "{\"project\": \"TRIG\", \"name\": \"sine\"}").0, 201);
    assert_eq!(server.post("/api/v1/jobs/TRIG-1/points", "{\"loss\": [[1, 0.5, 7]]}").0, 200);
    server.stop();
}

#[track_caller]
fn succeeds(folder: &Path, arguments: &[&str]) -> String {
    let (code, told, errors) = run(folder, arguments);
    assert_eq!(code, 0, "{arguments:?}: {told}{errors}");
    told + &errors
}

#[track_caller]
fn refuses(folder: &Path, arguments: &[&str], wanted: &str) {
    let (code, told, errors) = run(folder, arguments);
    assert_eq!(code, 1, "{arguments:?}: {told}{errors}");
    assert!(errors.contains(wanted), "{wanted:?} is not in {errors}");
}

/// Every file below a folder with its bytes.
fn tree(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(tree(&path));
        } else {
            found.push((path.clone(), fs::read(path).unwrap()));
        }
    }
    found.sort();
    found
}

fn backup_file(to: &Path, digest: &str) -> PathBuf {
    to.join("files").join(&digest[..2]).join(digest)
}

#[test]
fn a_backup_touches_nothing_of_anybody_else() {
    let folder = tempdir().unwrap();
    let (mine, other) = (folder.path().join("mine"), folder.path().join("other"));
    fill(&mine);
    fill(&other);
    for foreign in ["photos/a.jpg", "files/photos/a.jpg", "files/ab/a.jpg", "files/ab", "backup.json"] {
        let share = folder.path().join("share");
        let path = share.join(foreign);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "not of a backup").unwrap();
        let before = tree(&share);
        let (code, _, errors) = run(&mine, &["backup", "--to", "../share"]);
        assert_eq!(code, 1, "{foreign}");
        assert!(
            errors.contains("name another folder") || errors.contains("name an empty folder"),
            "{errors}"
        );
        let after = tree(&share);
        assert!(before.iter().all(|file| after.contains(file)), "{foreign}: {after:?}");
        fs::remove_dir_all(share).unwrap();
    }
    // Another server's backup stays as it is, and the same server's is gone on with.
    succeeds(&other, &["backup", "--to", "../share"]);
    let before = tree(&folder.path().join("share"));
    refuses(&mine, &["backup", "--to", "../share"], "holds a backup of another server's data");
    assert_eq!(tree(&folder.path().join("share")), before);
    assert!(succeeds(&other, &["backup", "--to", "../share"]).contains(" new: "));
    // A version that did not say whose data it is may have written for anybody.
    let list = folder.path().join("share/backup.json");
    let mut json: serde_json::Value = serde_json::from_slice(&fs::read(&list).unwrap()).unwrap();
    json.as_object_mut().unwrap().remove("store");
    fs::write(&list, json.to_string()).unwrap();
    refuses(&other, &["backup", "--to", "../share"], "did not say whose data it is");
    // It is a backup all the same.
    succeeds(&other, &["restore", "--from", "../share", "--data", "again"]);
}

#[test]
fn nobody_else_reads_a_backup() {
    let folder = tempdir().unwrap();
    fill(folder.path());
    let told = succeeds(folder.path(), &["backup", "--to", "deep/new"]);
    assert!(!told.contains("chmod"), "{told}");
    let to = folder.path().join("deep/new");
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
    assert_eq!((mode(&to), mode(&to.join("files")), mode(&to.join("backup.json"))), (0o700, 0o700, 0o600));
    for (path, _) in tree(&to) {
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700), "{}", path.display());
    }
    fs::set_permissions(&to, Permissions::from_mode(0o755)).unwrap();
    let told = succeeds(folder.path(), &["backup", "--to", "deep/new"]);
    assert!(told.contains("(mode 755)") && told.contains("chmod 700"), "{told}");
    // Through a server, too.
    let server = Server::start(folder.path(), &[]);
    let told = succeeds(folder.path(), &["backup", "--to", "deep/new"]);
    assert!(told.contains("(mode 755)"), "{told}");
    server.stop();
}

/// As a copy on a disk of its own: the same bytes, another file.
fn unshare(path: &Path, bytes: &[u8]) {
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_copy_that_has_changed_is_replaced_by_the_next_backup() {
    let folder = tempdir().unwrap();
    fill(folder.path());
    succeeds(folder.path(), &["backup", "--to", "to"]);
    let copy = backup_file(&folder.path().join("to"), BLOB);
    unshare(&copy, b"bytEs");
    refuses(
        folder.path(),
        &["restore", "--from", "to", "--data", "no"],
        "--without-damaged restores all but",
    );
    assert!(!folder.path().join("no").exists());

    let (code, _, errors) =
        run(folder.path(), &["restore", "--from", "to", "--data", "most", "--without-damaged"]);
    assert_eq!(code, 1);
    let path = format!("blobs/{}/{}/{BLOB}", &BLOB[..2], &BLOB[2..4]);
    assert!(
        errors.contains(&format!("{path} is damaged or missing in the backup, it was left out")),
        "{errors}"
    );
    let (code, told, _) = run(folder.path(), &["check", "--data", "most"]);
    assert_eq!((code, told.starts_with(&format!("blob {BLOB} is missing\n"))), (1, true), "{told}");
    // Whoever has it brings it back.
    let server = Server::start(folder.path(), &["--data", "most"]);
    let headers = [("content-type", "application/octet-stream")];
    assert_eq!(server.ask("PUT", &format!("/api/v1/projects/TRIG/blobs/{BLOB}"), &headers, "bytes").0, 204);
    server.stop();
    succeeds(folder.path(), &["check", "--data", "most"]);

    // So is one that is not there, and one that no process reads.
    fs::remove_file(&copy).unwrap();
    for in_its_place in [false, true] {
        if in_its_place {
            fs::create_dir(&copy).unwrap();
        }
        let data = format!("most{in_its_place}");
        let (code, _, errors) =
            run(folder.path(), &["restore", "--from", "to", "--data", &data, "--without-damaged"]);
        assert!(code == 1 && errors.contains("it was left out"), "{errors}");
    }
    fs::remove_dir(&copy).unwrap();

    let told = succeeds(folder.path(), &["backup", "--to", "to"]);
    assert_eq!(fs::read(&copy).unwrap(), b"bytes", "{told}");
    succeeds(folder.path(), &["restore", "--from", "to", "--data", "whole"]);
    succeeds(folder.path(), &["check", "--data", "whole"]);

    // A damaged table is a part of the database: nothing is restored without it.
    let tables = tree(&folder.path().join("to/files"));
    let list: serde_json::Value =
        serde_json::from_slice(&fs::read(folder.path().join("to/backup.json")).unwrap()).unwrap();
    let files = list["files"].as_array().unwrap();
    let table = files.iter().find(|file| file["path"].as_str().unwrap().ends_with("MANIFEST-000005"));
    let table =
        table.or_else(|| files.iter().find(|file| file["path"].as_str().unwrap().contains("MANIFEST")));
    let table = backup_file(&folder.path().join("to"), table.unwrap()["blake3"].as_str().unwrap());
    let mut bytes = tables.iter().find(|(path, _)| *path == table).unwrap().1.clone();
    *bytes.last_mut().unwrap() ^= 1;
    unshare(&table, &bytes);
    let arguments = ["restore", "--from", "to", "--data", "no", "--without-damaged"];
    refuses(folder.path(), &arguments, "a part of the database");
    assert!(!folder.path().join("no").exists());
}

/// What hinders writing the copy is no fault of the backup, and nothing is left out for it.
#[test]
fn a_disk_that_takes_no_more_ends_a_restore() {
    let folder = tempdir().unwrap();
    fill(folder.path());
    let bytes = vec![6; 24 << 20];
    let large = blake3::hash(&bytes).to_string();
    let place = folder.path().join("neptune-data/blobs").join(&large[..2]).join(&large[2..4]);
    fs::create_dir_all(&place).unwrap();
    fs::write(place.join(&large), bytes).unwrap();
    succeeds(folder.path(), &["backup", "--to", "to"]);
    // A limit on the size of files stands for the disk's: writing fails in the same way, without a signal.
    let script = "trap '' XFSZ; ulimit -f 20480; exec \"$0\" \"$@\"";
    let mut limited = std::process::Command::new("sh");
    limited.current_dir(folder.path()).args(["-c", script, env!("CARGO_BIN_EXE_neptune-server")]);
    limited.args(["restore", "--from", "to", "--data", "no", "--without-damaged"]);
    let told = limited.output().unwrap();
    let errors = String::from_utf8_lossy(&told.stderr);
    assert_eq!(told.status.code(), Some(1), "{errors}");
    assert!(errors.contains("nothing was restored") && errors.contains("cannot write "), "{errors}");
    assert!(!folder.path().join("no").exists(), "{errors}");
}

#[test]
fn a_blob_that_was_damaged_since_keeps_its_whole_copy() {
    let folder = tempdir().unwrap();
    fill(folder.path());
    succeeds(folder.path(), &["backup", "--to", "to"]);
    let copy = backup_file(&folder.path().join("to"), BLOB);
    unshare(&copy, b"bytes");
    let blob = folder.path().join("neptune-data/blobs").join(&BLOB[..2]).join(&BLOB[2..4]).join(BLOB);
    fs::write(&blob, "bytEs").unwrap();
    let told = succeeds(folder.path(), &["backup", "--to", "to"]);
    assert!(told.contains("1 blobs in the data folder are damaged"), "{told}");
    assert_eq!(fs::read(&copy).unwrap(), b"bytes");
    succeeds(folder.path(), &["restore", "--from", "to", "--data", "whole"]);
    succeeds(folder.path(), &["check", "--data", "whole"]);
}

fn stored_format(data: &Path) -> u8 {
    let kv = Arc::new(RocksKv::open(data.join("db"), Options::default()).unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    // Behind the version of the record itself.
    runtime.block_on(kv.get(&StoreKey::Format.encode())).unwrap().unwrap()[1]
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy_folder(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
}

#[test]
fn what_only_reads_leaves_an_older_format_as_it_is() {
    let folder = tempdir().unwrap();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/db/v1/data");
    copy_folder(&fixture, &folder.path().join("neptune-data"));
    succeeds(folder.path(), &["check"]);
    succeeds(folder.path(), &["backup", "--to", "to"]);
    assert_eq!(stored_format(&folder.path().join("neptune-data")), 1);
    succeeds(folder.path(), &["restore", "--from", "to", "--data", "again"]);
    assert_eq!(stored_format(&folder.path().join("again")), 1);
    succeeds(folder.path(), &["check", "--data", "again"]);
    // A server brings it to the format of today.
    Server::start(folder.path(), &["--data", "again"]).stop();
    assert_eq!(stored_format(&folder.path().join("again")), 2);
}

#[test]
fn a_restore_fills_a_folder_in_its_place_or_not_at_all() {
    let folder = tempdir().unwrap();
    fill(folder.path());
    succeeds(folder.path(), &["backup", "--to", "to"]);
    // As where a disk is mounted: the folder is there, and nothing can be moved over it.
    let disk = folder.path().join("disk");
    fs::create_dir_all(disk.join("lost+found")).unwrap();
    let inode = fs::metadata(&disk).unwrap().ino();
    succeeds(folder.path(), &["restore", "--from", "to", "--data", "disk"]);
    assert_eq!(fs::metadata(&disk).unwrap().ino(), inode);
    succeeds(folder.path(), &["check", "--data", "disk"]);
    refuses(folder.path(), &["restore", "--from", "to", "--data", "disk"], "is not empty, it has");

    // One that was killed: nothing takes it for a data folder, and the next begins anew.
    fs::write(disk.join("restoring"), "").unwrap();
    fs::remove_file(tree(&disk.join("db")).pop().unwrap().0).unwrap();
    for verb in
        [&["check", "--data", "disk"][..], &["backup", "--to", "no", "--data", "disk"], &["--data", "disk"]]
    {
        refuses(folder.path(), verb, "is being filled by a restore, or that was cut off");
    }
    let held = fs::File::open(disk.join("restoring")).unwrap();
    held.lock().unwrap();
    refuses(folder.path(), &["restore", "--from", "to", "--data", "disk"], "another restore is filling");
    drop(held);
    succeeds(folder.path(), &["restore", "--from", "to", "--data", "disk"]);
    succeeds(folder.path(), &["check", "--data", "disk"]);
    assert!(!disk.join("restoring").exists());
}

#[test]
fn a_backup_takes_the_root_of_a_disk() {
    let folder = tempdir().unwrap();
    fill(folder.path());
    let disk = folder.path().join("disk");
    fs::create_dir_all(&disk).unwrap();
    fs::write(disk.join("lost+found"), "a file that somebody named like that").unwrap();
    refuses(folder.path(), &["backup", "--to", "disk"], "holds \"lost+found\", which is of no backup");
    fs::remove_file(disk.join("lost+found")).unwrap();
    fs::create_dir(disk.join("lost+found")).unwrap();
    fs::write(disk.join("lost+found/#12"), "found").unwrap();
    for _first_and_next in 0..2 {
        succeeds(folder.path(), &["backup", "--to", "disk"]);
    }
    assert_eq!(fs::read(disk.join("lost+found/#12")).unwrap(), b"found");
    succeeds(folder.path(), &["restore", "--from", "disk", "--data", "again"]);
    succeeds(folder.path(), &["check", "--data", "again"]);
}

#[test]
fn a_stop_ends_a_backup_and_leaves_nothing_of_it() {
    let folder = tempdir().unwrap();
    fill(folder.path());
    // What a killed one left pins the tables it shares; a start lets go of them.
    let draft = folder.path().join("neptune-data/backup-draft");
    fs::create_dir_all(draft.join("rocksdb")).unwrap();
    fs::write(draft.join("rocksdb/000001.sst"), "a table").unwrap();
    let mut server = Server::start(folder.path(), &[]);
    assert!(!draft.exists());

    // A hole that takes minutes to read.
    let large = folder.path().join("neptune-data/blobs/00/00").join("0".repeat(64));
    fs::create_dir_all(large.parent().unwrap()).unwrap();
    fs::File::create(&large).unwrap().set_len(1 << 40).unwrap();
    let mut asking = command(folder.path());
    let mut asking =
        asking.args(["backup", "--to", "to"]).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let files = folder.path().join("to/files");
    // The database comes first.
    wait_until("the backup copies", || {
        fs::read_dir(&files).is_ok_and(|mut files| files.next().is_some()).then_some(())
    });
    server.signal(Signal::SIGTERM);
    assert!(server.wait().success(), "{}", server.log());
    let output = wait_until("it is told", || asking.try_wait().unwrap());
    assert_eq!(output.code(), Some(1));
    assert!(!draft.exists());
    refuses(folder.path(), &["restore", "--from", "to", "--data", "no"], "was cut off before it was whole");

    // Whoever goes away does not want it any more.
    let server = Server::start(folder.path(), &[]);
    let mut asking = command(folder.path()).args(["backup", "--to", "gone"]).spawn().unwrap();
    wait_until("the backup copies", || folder.path().join("gone/files").is_dir().then_some(()));
    asking.kill().unwrap();
    asking.wait().unwrap();
    wait_until("the server gives up", || (server.log().contains("the backup was not made")).then_some(()));
    wait_until("nothing is left", || (!draft.exists()).then_some(()));
    fs::remove_file(large).unwrap();
    succeeds(folder.path(), &["backup", "--to", "to"]);
    server.stop();
    succeeds(folder.path(), &["restore", "--from", "to", "--data", "whole"]);
    succeeds(folder.path(), &["check", "--data", "whole"]);
}

#[test]
fn a_server_without_descriptors_makes_a_backup_once_it_has_some() {
    let folder = tempdir().unwrap();
    fill(folder.path());
    let mut limited = std::process::Command::new("sh");
    limited.args(["-c", "ulimit -n 80; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_neptune-server")]);
    let server = Server::start_by::<&str>(limited, folder.path(), &[]);
    let mut held: Vec<TcpStream> = Vec::new();
    wait_until("no descriptor is left", || {
        held.push(server.connect());
        server.log().contains("cannot accept connections").then_some(())
    });
    let asking = command(folder.path()).args(["backup", "--to", "to"]).spawn().unwrap();
    wait_until("it has to wait", || {
        server.log().contains("whoever asks through the data folder has to wait").then_some(())
    });
    drop(held);
    let ended = asking.wait_with_output().unwrap();
    assert!(ended.status.success(), "{}", server.log());
    server.stop();
    succeeds(folder.path(), &["restore", "--from", "to", "--data", "whole"]);
}
