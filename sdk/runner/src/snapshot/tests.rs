//! Which files a snapshot takes, in which order, and what it refuses.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use expect_test::{Expect, expect};

use super::*;

fn rules() -> Rules {
    Rules { exclude: vec![], only: vec![], outside: vec![], size_limit_bytes: SIZE_LIMIT_BYTES }
}

fn write(root: &Path, path: &str, content: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

fn tree(files: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    files.iter().for_each(|file| write(folder.path(), file, &format!("content of {file}")));
    folder
}

fn paths(tree: &Tree) -> String {
    tree.manifest().files.iter().map(|file| file.path.as_str()).collect::<Vec<_>>().join(" ")
}

fn check(files: &[&str], rules: &Rules, expect: Expect) {
    let folder = tree(files);
    expect.assert_eq(&match Tree::scan(folder.path(), rules) {
        Ok(tree) => paths(&tree),
        Err(error) => error.to_string().replace(&folder.path().display().to_string(), "/job"),
    });
}

#[test]
fn source_is_in_and_what_never_is_source_is_out() {
    let files = [
        "main.py",
        ".hidden",
        ".gitignore",
        "lib/a.py",
        "lib/__pycache__/a.pyc",
        "lib/a.pyc",
        ".git/HEAD",
        ".venv/pyvenv.cfg",
        ".venv/lib/x.py",
        "my env/pyvenv.cfg",
        "conda/conda-meta/history",
        "neptune.log",
        "offline_job.log",
        "neptune-data/LOCK",
        "server data/db/CURRENT",
        "server data/blobs/ab/cd",
        "node_modules/x/index.js",
    ];
    check(&files, &rules(), expect![[".gitignore .hidden lib/a.py main.py"]]);
}

#[test]
fn order_is_by_bytes_of_the_path() {
    check(&["a/b", "a-b", "a.b", "a0", "B", "ä"], &rules(), expect![["B a-b a.b a/b a0 ä"]]);
}

#[test]
fn exclusion_speaks_gitignore_and_the_later_rule_wins() {
    let files = ["main.py", "data/big.csv", "data/small.csv", "x/data/y", "notes.csv", "out/log"];
    let exclude =
        |patterns: &[&str]| Rules { exclude: patterns.iter().map(ToString::to_string).collect(), ..rules() };
    check(&files, &exclude(&["data"]), expect![["main.py notes.csv out/log"]]);
    check(&files, &exclude(&["./data"]), expect![["main.py notes.csv out/log x/data/y"]]);
    check(&files, &exclude(&["*.csv", "!small.csv"]), expect![["data/small.csv main.py out/log x/data/y"]]);
    check(
        &files,
        &exclude(&["[z-a]", "x"]),
        expect![[r#"exclude "[z-a]": error parsing glob '[z-a]': invalid range; 'z' > 'a'"#]],
    );

    let folder = tree(&files);
    write(folder.path(), IGNORE_FILE, "# data stays here\ndata/\n");
    let scanned = Tree::scan(folder.path(), &exclude(&["!x/data/"])).unwrap();
    expect![[".neptuneignore main.py notes.csv out/log x/data/y"]].assert_eq(&paths(&scanned));
}

#[test]
fn only_takes_paths_below_the_folder() {
    let files = ["main.py", "lib/a.py", "lib/b.py", "data/x"];
    let only = |paths: &[&str]| Rules { only: paths.iter().map(PathBuf::from).collect(), ..rules() };
    check(&files, &only(&["./main.py", "lib", "lib/a.py"]), expect![["lib/a.py lib/b.py main.py"]]);
    check(&files, &only(&["../x"]), expect!["paths-to-copy: ../x: must lie below /job"]);
    check(&files, &only(&["main.py", "libs"]), expect!["paths-to-copy: libs: no such file or folder"]);
}

#[test]
fn links_and_modes_are_kept_and_links_are_not_followed() {
    let folder = tree(&["main.py", "run.sh", "data/x"]);
    let root = folder.path();
    fs::set_permissions(root.join("run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    symlink("data", root.join("linked")).unwrap();
    symlink("/nowhere/at/all", root.join("broken")).unwrap();
    symlink(".", root.join("loop")).unwrap();
    let scanned = Tree::scan(root, &rules()).unwrap();
    let shown: Vec<_> = scanned
        .manifest()
        .files
        .iter()
        .map(|file| format!("{} {:?} {}", file.path, file.mode, file.size_bytes))
        .collect();
    expect![[r#"
        broken Link 15
        data/x File 17
        linked Link 4
        loop Link 1
        main.py File 18
        run.sh Executable 17"#]]
    .assert_eq(&shown.join("\n"));
    let link = scanned.manifest().files.iter().find(|file| file.path == "linked").unwrap();
    assert_eq!(link.digest.as_bytes(), blake3::hash(b"data").as_bytes());
    let main = scanned.manifest().files.iter().find(|file| file.path == "main.py").unwrap();
    assert_eq!(main.digest.as_bytes(), blake3::hash(b"content of main.py").as_bytes());
}

#[test]
fn too_much_is_refused_with_the_largest_named() {
    let folder = tree(&["main.py", "b.bin"]);
    fs::File::create(folder.path().join("train.bin")).unwrap().set_len(3 << 30).unwrap();
    let error = Tree::scan(folder.path(), &rules()).unwrap_err().to_string();
    let root = folder.path().display().to_string();
    expect![[r#"
        the files of /job are 3.0 GiB together, over the limit of 512.0 MiB; leave data out with --exclude or a line in .neptuneignore, or allow more with --snapshot-limit
             3.0 GiB  train.bin
                18 B  main.py
                16 B  b.bin"#]].assert_eq(&error.replace(&root, "/job"));
    let without = Rules { exclude: vec!["*.bin".into()], ..rules() };
    assert_eq!(paths(&Tree::scan(folder.path(), &without).unwrap()), "main.py");
}

#[test]
fn too_many_files_are_refused_before_they_are_read() {
    let folder = tree(&["main.py"]);
    fs::create_dir(folder.path().join("frames")).unwrap();
    for number in 0..=FILES_LIMIT {
        fs::File::create(folder.path().join(format!("frames/{number}"))).unwrap();
    }
    let error = Tree::scan(folder.path(), &rules()).unwrap_err();
    assert!(matches!(error, SnapshotError::TooMany { .. }), "{error}");
    assert!(error.to_string().contains("frames/"), "{error}");
}

#[test]
fn what_cannot_be_read_is_named() {
    let denied = |number: usize| {
        (PathBuf::from(format!("/job/{number}")), io::Error::from(io::ErrorKind::PermissionDenied))
    };
    let error = SnapshotError::Unreadable((0..7).map(denied).collect());
    expect![[r#"
        /job/0: permission denied
        /job/1: permission denied
        /job/2: permission denied
        /job/3: permission denied
        /job/4: permission denied
        and 2 more
        make them readable, or leave them out with --exclude or a line in .neptuneignore"#]]
    .assert_eq(&error.to_string());
}

#[test]
fn names_that_cannot_travel_are_named() {
    let folder = tree(&["a\nb.py"]);
    assert!(matches!(Tree::scan(folder.path(), &rules()), Err(SnapshotError::Name(_))));
}

#[test]
fn sockets_are_left_out_with_a_note() {
    let folder = tree(&["main.py"]);
    let _socket = std::os::unix::net::UnixListener::bind(folder.path().join("s")).unwrap();
    let scanned = Tree::scan(folder.path(), &rules()).unwrap();
    assert_eq!(paths(&scanned), "main.py");
    assert!(scanned.notes()[0].contains("neither file"), "{:?}", scanned.notes());
}

#[test]
fn a_copy_runs_like_the_original_and_is_what_is_registered() {
    let folder = tree(&["main.py", "lib/a.py"]);
    let (root, outer) = (folder.path().join("job"), folder.path());
    fs::create_dir(&root).unwrap();
    for name in ["main.py", "lib"] {
        fs::rename(outer.join(name), root.join(name)).unwrap();
    }
    write(outer, "shared/data", "outside");
    fs::create_dir(root.join("output")).unwrap();
    symlink("../shared/data", root.join("data")).unwrap();
    symlink("lib/a.py", root.join("inside")).unwrap();
    fs::set_permissions(root.join("main.py"), fs::Permissions::from_mode(0o755)).unwrap();

    let mut scanned = Tree::scan(&root, &rules()).unwrap();
    write(&root, "lib/a.py", "changed after hashing");
    fs::remove_file(root.join("main.py")).unwrap();
    write(&root, "main.py", "new");
    let copy = outer.join("dump/jobs/1/src");
    scanned.copy_to(&copy, &mut || false).unwrap();

    assert_eq!(
        fs::read_to_string(copy.join("data")).unwrap(),
        "outside",
        "a link out of the tree still leads there"
    );
    assert_eq!(fs::read_link(copy.join("inside")).unwrap(), Path::new("lib/a.py"));
    assert!(copy.join("output").is_dir(), "an empty folder is there to be written to");
    let again = Tree::scan(&copy, &rules()).unwrap();
    assert_eq!(scanned.manifest(), again.manifest());
    assert!(
        matches!(scanned.copy_to(&copy, &mut || false), Err(SnapshotError::Copy { .. })),
        "a copy is never written over"
    );
}

#[test]
fn a_copy_that_is_given_up_leaves_nothing() {
    let folder = tree(&["a.py", "b.py", "c.py"]);
    let mut scanned = Tree::scan(folder.path(), &rules()).unwrap();
    let copy = folder.path().join("dump/jobs/1/src");
    let mut asked = 0;
    let copied = scanned.copy_to(&copy, &mut || {
        asked += 1;
        asked == 3
    });
    assert!(matches!(copied, Err(SnapshotError::CopyGivenUp)), "{copied:?}");
    assert!(!copy.exists());
    assert_eq!(scanned.root(), folder.path());
}

#[test]
fn the_dump_folder_is_never_in_the_snapshot() {
    let folder = tree(&["main.py", "dump/jobs/1/src/main.py"]);
    let rules = Rules { outside: vec![folder.path().join("dump")], ..rules() };
    assert_eq!(paths(&Tree::scan(folder.path(), &rules).unwrap()), "main.py");
}

#[test]
fn sizes_read_well() {
    let shown: Vec<_> = [0, 1, 1023, 1024, 1536, 512 << 20, u64::MAX].map(|n| Bytes(n).to_string()).into();
    expect!["0 B, 1 B, 1023 B, 1.0 KiB, 1.5 KiB, 512.0 MiB, 16777216.0 TiB"].assert_eq(&shown.join(", "));
}
