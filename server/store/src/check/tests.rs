//! Each kind of damage is made by hand, below the store, and told.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use expect_test::{Expect, expect};
use neptune_kv::{Batch, CommitError, Kv, KvRead, Limits, MemoryKv, Page as KvPage, ReadError};
use neptune_wire::frame::{FrameBuilder, ImageRecord};
use neptune_wire::snapshot::{self, Manifest};
use neptune_wire::{AttemptNumber, Digest, JobState, Micros, ProjectKey};

use super::*;
use crate::Writes;
use crate::blob::{blob_from_bytes, digest_from_bytes};
use crate::record::{ChannelState, LogState, RowsState, StatusRecord};
use crate::sheet::{LogRow, Place, TextRow};
use crate::sheets::SheetRange;

const JOB: JobUid = JobUid::from_bytes([1; 16]);
const SESSION: SessionId = SessionId::from_bytes([2; 16]);

struct World {
    kv: Arc<MemoryKv>,
    store: Store,
    blobs: Blobs,
}

fn project() -> ProjectKey {
    ProjectKey::new("TRIG").unwrap()
}

fn frame(session: SessionId, number: u64) -> Vec<u8> {
    let mut frame = FrameBuilder::new(session, number);
    assert_eq!(frame.push_numeric(0, &[1.0, 2.0], &[0.5, f64::NAN], &[7, 8]), 2);
    frame.finish()
}

/// A store with a project, a blob, and a log of two frames with their mark.
async fn world() -> World {
    let kv = Arc::new(MemoryKv::new());
    let store = Store::open(kv.clone(), [7; 32]).await.unwrap();
    let blobs = Blobs::in_memory();
    let digest = digest_from_bytes(b"bytes");
    blobs.put(&digest, blob_from_bytes("bytes"), 100).await.unwrap();
    let mut writes = Writes::new();
    writes.create_project(
        &project(),
        &ProjectRecord { name: "T".into(), created: Micros(1), last_number: 0, jobs: 0 },
    );
    writes.put_project_blob(&project(), &digest);
    writes.create_session(&JOB, &SESSION, &SessionRecord { attempt: AttemptNumber(1), mark: 2 });
    for number in [1, 2] {
        writes.put_frame(&JOB, number, frame(SESSION, number).into());
    }
    writes.put_frame(&JOB, 3, frame(DIRECT_SESSION, 1).into());
    store.commit(writes).await.unwrap();
    World { kv, store, blobs }
}

impl World {
    async fn damage(&self, batch: Batch) {
        self.kv.commit(batch).await.unwrap();
    }

    async fn check(&self, expected: Expect) -> Checked {
        let mut told = Vec::new();
        let checked = self.store.check(&self.blobs, &mut |damage| told.push(damage.to_string())).await;
        expected.assert_eq(&told.join("\n"));
        checked
    }
}

#[tokio::test]
async fn a_whole_store_has_nothing_to_tell() {
    let checked = world().await.check(expect![[r#""#]]).await;
    let expected =
        Checked { records: 5, frames: 3, points: 6, blobs: 1, blob_bytes: 5, ..Checked::default() };
    assert_eq!(checked, expected);
}

#[tokio::test]
async fn damaged_records_and_unknown_keys_are_told() {
    let world = world().await;
    let project = StoreKey::Project { project: project() }.encode();
    let number = StoreKey::JobNumber { project: ProjectKey::new("TRIG").unwrap(), number: 1 }.encode();
    let batch = Batch::new()
        .put(project, "\u{1}x")
        .put(Key::state("stray"), "x")
        .put(number, vec![9; 16])
        .put(StoreKey::ServerKey.encode(), "short");
    world.damage(batch).await;
    world
        .check(expect![[r#"
        at key State:\x00jnTRIG\x00\x00\x00\x00\x00\x00\x00\x00\x01: the job of this number is missing
        at key State:\x00pjTRIG: project record is damaged
        at key State:\x00sk: the value is not the server's key of 32 bytes
        key State:stray is of no known layout"#]])
        .await;
}

#[tokio::test]
async fn a_job_that_is_being_removed_may_be_in_any_state() {
    let world = world().await;
    let mut writes = Writes::new();
    let deleted = DeletedRecord { since: Micros(1), until: Micros(1), reason: "x".into(), removing: true };
    writes.put_deleted(&JOB, &deleted);
    world.store.commit(writes).await.unwrap();
    // The mark is gone, frames are not: damage, if the job were to stay.
    world.damage(Batch::new().delete(StoreKey::Session { job: JOB, session: SESSION }.encode())).await;
    let checked = world.check(expect![[r#""#]]).await;
    assert_eq!((checked.removing, checked.frames), (1, 0));
}

#[tokio::test]
async fn what_no_project_holds_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = Blobs::open_folder(folder.path()).unwrap();
    let world = World { blobs, ..world().await };
    for bytes in [&b"bytes"[..], b"orphan"] {
        let digest = digest_from_bytes(bytes);
        world.blobs.put(&digest, blob_from_bytes(bytes), 100).await.unwrap();
    }
    let hex = digest_from_bytes(b"bytes").to_string();
    std::fs::write(folder.path().join(&hex[..2]).join(format!("{hex}#1")), "broken off").unwrap();
    let held = world.store.find_project_blobs(&project(), &[digest_from_bytes(b"bytes")]).await.unwrap();
    let mut writes = Writes::new();
    writes.replace_project_blob(&project(), &held[0].unwrap(), Some(UnneededRecord { since: Micros(5) }));
    world.store.commit(writes).await.unwrap();
    let checked = world.check(expect![[r#""#]]).await;
    assert_eq!((checked.unneeded, checked.leftovers, checked.leftover_bytes), (1, 2, 16));
}

#[tokio::test]
async fn damaged_frames_and_marks_are_told() {
    let world = world().await;
    let at = |seq| StoreKey::Frame { job: JOB, seq }.encode();
    let mut flipped = frame(SESSION, 2);
    flipped[40] ^= 1;
    let doubled = frame(SESSION, 1);
    let stranger = frame(SessionId::from_bytes([5; 16]), 4);
    let batch = Batch::new()
        .put(at(2), flipped)
        .put(at(4), doubled)
        .put(at(5), frame(SESSION, 9))
        .put(at(6), stranger);
    world.damage(batch).await;
    world.check(expect![[r#"
        frame 2 in the log of job 01010101010101010101010101010101: frame checksum differs, the bytes were damaged on the way
        frame 4 in the log of job 01010101010101010101010101010101: session 02020202020202020202020202020202 has number 1 after 1
        job 01010101010101010101010101010101: session 02020202020202020202020202020202 has frame 9, its mark is 2
        job 01010101010101010101010101010101: session 05050505050505050505050505050505 has frame 4, its mark is 0"#]]).await;
}

#[tokio::test]
async fn missing_and_changed_blobs_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = Blobs::open_folder(folder.path()).unwrap();
    let world = World { blobs, ..world().await };
    world
        .check(expect!["blob df19b1f105ff929191ce49d0bbfdc5b4edc2a71a40f502dc955359eb33649e24 is missing"])
        .await;

    let digest = digest_from_bytes(b"bytes");
    world.blobs.put(&digest, blob_from_bytes("bytes"), 100).await.unwrap();
    world.check(expect![""]).await;
    let hex = digest.to_string();
    let path = folder.path().join(&hex[..2]).join(&hex[2..4]).join(&hex);
    std::fs::write(path, "bytEs").unwrap();
    world.check(expect!["blob df19b1f105ff929191ce49d0bbfdc5b4edc2a71a40f502dc955359eb33649e24 has changed, its bytes have digest b799d50ed446f963ccdd6a4309d33202bbde631529375513f8835ca4620de8fe"]).await;
}

fn text_sheet(lines: &[&'static str]) -> Bytes {
    let row = |text: &&'static str| TextRow { x: 0.0, time: 0, text: (*text).into(), continues: false };
    Sheet { start: Place::default(), rows: lines.iter().map(row).collect() }.encode()
}

fn log_row(bytes: &'static str) -> LogRow {
    LogRow { x: 0.0, time: 0, lost: 0, breaks: false, bytes: bytes.into() }
}

/// A text channel 4 of two lines in two sheets, and a log 5 of three lines in two sheets.
async fn sealed_world() -> World {
    let world = world().await;
    let mut writes = Writes::new();
    let rows = RowsState { count: 2, ..RowsState::default() };
    let record = ChannelStateRecord { seq: 3, state: ChannelState::Text(rows) };
    writes.put_channel_state(&JOB, 4, &record);
    writes.put_sheet(&JOB, 4, 0, text_sheet(&["a"]));
    writes.put_sheet(&JOB, 4, 1, text_sheet(&["b", "not yet named by the state"]));
    let log = LogState { length: 9, lines: 3, open: 1, ..LogState::default() };
    let record = ChannelStateRecord { seq: 3, state: ChannelState::Log(log) };
    writes.put_channel_state(&JOB, 5, &record);
    let second = Place { at: 5, lines: 2, open: 1 };
    for (start, row) in [(Place::default(), log_row("one\nt")), (second, log_row("wo\nx"))] {
        writes.put_log_sheet(&JOB, 5, start, Sheet { start, rows: vec![row] }.encode());
    }
    // Left over from a round that was not finished, as is channel 6.
    writes.put_sheet(&JOB, 5, 7, Sheet { start: second, rows: vec![log_row("\nx")] }.encode());
    writes.put_sheet(&JOB, 6, 0, text_sheet(&["of no state"]));
    world.store.commit(writes).await.unwrap();
    world
}

#[tokio::test]
async fn whole_sheets_have_nothing_to_tell() {
    let checked = sealed_world().await.check(expect![[r#""#]]).await;
    assert_eq!((checked.sheets, checked.records), (6, 5 + 2 + 2));
}

#[tokio::test]
async fn damaged_sheets_are_told() {
    let world = sealed_world().await;
    let sheet = |channel, first| StoreKey::Sheet { job: JOB, channel, first }.encode();
    let line = |line, first| StoreKey::LogLine { job: JOB, channel: 5, line, first }.encode();
    world.damage(Batch::new().delete(sheet(4, 1)).delete(line(2, 5)).put(line(8, 8), "")).await;
    world.check(expect![[r#"
        at key Bulk:\x01\x00ll\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00\x08\x00\x00\x00\x00\x00\x00\x00\x08: the sheet of this line is missing
        job 01010101010101010101010101010101: channel 4 has 1 of 2 sealed lines, images or bytes
        at key Bulk:\x01\x00ll\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x05: the line of this sheet is missing"#]]).await;

    let world = sealed_world().await;
    let wrong = Sheet { start: Place { at: 5, lines: 1, open: 1 }, rows: vec![log_row("wo\nx")] }.encode();
    world.damage(Batch::new().put(sheet(4, 0), "no sheet").put(sheet(5, 5), wrong)).await;
    world.check(expect![[r#"
        at key Bulk:\x01\x00sh\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00: sheet is damaged: cut
        at key Bulk:\x01\x00sh\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00\x05: the value is not a sheet with the number of lines before it
        at key State:\x01\x00cs\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x00\x00\x00\x05: the value is not the number of lines in the log"#]]).await;
}

#[tokio::test]
async fn sheets_are_read_from_any_place_as_far_as_the_state_says() {
    let world = sealed_world().await;
    let store = &world.store;
    let texts = async |at, until, more| {
        let sheets =
            store.read_sheets::<TextRow>(SheetRange { job: &JOB, channel: 4, at, until }, more).await;
        let rows = sheets.unwrap().into_iter().flat_map(|sheet| sheet.rows);
        rows.map(|row| String::from_utf8(row.text.to_vec()).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(texts(0, 2, 0).await, ["a"]);
    assert_eq!(texts(0, 2, 9).await, ["a", "b"]);
    assert_eq!(texts(0, 3, 1).await, ["a", "b", "not yet named by the state"]);
    assert_eq!(texts(1, 2, 9).await, ["b"]);
    let log = async |at| {
        let range = SheetRange { job: &JOB, channel: 5, at, until: 9 };
        let sheets = store.read_sheets::<LogRow>(range, 9).await.unwrap();
        sheets.iter().map(|sheet| sheet.start.at).collect::<Vec<_>>()
    };
    assert_eq!(log(0).await, [0, 5]);
    assert_eq!(log(6).await, [5]);
    // What is left over holds what is true, so it may be what is found.
    assert_eq!(log(8).await, [7]);
    for (line, first) in [(0, 0), (1, 0), (2, 5), (9, 5)] {
        assert_eq!(store.find_log_line(&JOB, 5, line).await.unwrap(), first);
    }
    let missing =
        store.read_sheets::<TextRow>(SheetRange { job: &JOB, channel: 4, at: 3, until: 9 }, 0).await;
    assert!(matches!(missing, Err(StoreError::Missing { .. })));
    let other = store.read_sheets::<ImageRow>(SheetRange { job: &JOB, channel: 4, at: 0, until: 1 }, 0).await;
    assert!(matches!(other, Err(StoreError::Sheet { .. })));
}

fn image_frame(digest: Digest) -> Vec<u8> {
    let mut frame = FrameBuilder::new(DIRECT_SESSION, 1);
    let (name, description) = (String::new(), String::new());
    let image =
        ImageRecord { x: 1.0, time: 1, name, description, width: 1, height: 1, size_bytes: 5, digest };
    assert!(frame.push_image(0, &image));
    frame.finish()
}

/// As [`world`], with a job of a snapshot of one file, an image in a frame and one in a sheet.
async fn named_world() -> World {
    let world = world().await;
    let put = async |bytes: &[u8]| {
        let digest = digest_from_bytes(bytes);
        world.blobs.put(&digest, blob_from_bytes(bytes.to_vec()), 1000).await.unwrap();
        digest
    };
    let file = put(b"file").await;
    let files = vec![snapshot::File {
        path: "main.py".into(),
        digest: file,
        size_bytes: 4,
        mode: snapshot::Mode::File,
    }];
    let snapshot = put(&Manifest { files }.canonical_json()).await;
    let (open, sealed) = (put(b"open image").await, put(b"sealed image").await);
    let status = StatusRecord {
        state: JobState::Created,
        attempt: None,
        silent_since: None,
        reason: None,
        exit_code: None,
        started: None,
        ended: None,
        abort: None,
    };
    let record = JobRecord {
        revision: 1,
        project: project(),
        number: 1,
        name: "sine".into(),
        description: String::new(),
        tags: vec![],
        created: Micros(1),
        arrived: None,
        status,
    };
    let mut writes = Writes::new();
    let spec = JobSpec { snapshot: Some(snapshot), ..JobSpec::default() };
    writes.create_job(&JOB, &record, &spec, []);
    writes.put_snapshot(&project(), &snapshot);
    for digest in [file, open, sealed] {
        writes.put_project_blob(&project(), &digest);
    }
    writes.put_frame(&JOB, 9, image_frame(open).into());
    let row = ImageRow {
        x: 0.0,
        time: 0,
        digest: sealed,
        width: 1,
        height: 1,
        size_bytes: 12,
        name: Bytes::new(),
        description: Bytes::new(),
    };
    let rows = RowsState { count: 1, ..RowsState::default() };
    writes.put_channel_state(&JOB, 0, &ChannelStateRecord { seq: 3, state: ChannelState::Images(rows) });
    writes.put_sheet(&JOB, 0, 0, Sheet { start: Place::default(), rows: vec![row] }.encode());
    world.store.commit(writes).await.unwrap();
    world
}

#[tokio::test]
async fn what_a_job_names_is_held() {
    let checked = named_world().await.check(expect![""]).await;
    assert_eq!((checked.blobs, checked.unneeded), (5, 0));
}

#[tokio::test]
async fn what_a_job_names_and_nobody_holds_is_told() {
    let held = |bytes: &[u8]| {
        StoreKey::ProjectBlob { project: project(), digest: digest_from_bytes(bytes) }.encode()
    };
    let world = named_world().await;
    let lost = Batch::new().delete(held(b"file")).delete(held(b"open image")).delete(held(b"sealed image"));
    world.damage(lost).await;
    let checked = world.check(expect![[r#"
        snapshot eca7a0d6a12d75ed4044d4372833194a277f3149e8531faa130ecaaf432e7802: file "main.py", which is blob 39aac93919e644bc384a2c14a24d6c8c4b57159cc1b54d2c469d79be97d1bf51, is not held by project TRIG
        job 01010101010101010101010101010101: its image 95fc563669df57986d8254a9042b1e3fc01333424d77ab39489f8d04ad2f0550 is not held by project TRIG
        job 01010101010101010101010101010101: its image 00be13a9975f8e73d0290f96dd7cb50029416f7073337acc9a6ce13f83bdb294 is not held by project TRIG"#]]).await;
    // Their bytes lie there, for the collector to take.
    assert_eq!((checked.blobs, checked.leftovers), (2, 3));

    let world = named_world().await;
    let snapshots = world.store.read_snapshots(&project()).await.unwrap();
    let mut writes = Writes::new();
    writes.delete_snapshot(&project(), &snapshots[0]);
    world.store.commit(writes).await.unwrap();
    world.check(expect!["job 01010101010101010101010101010101: its snapshot eca7a0d6a12d75ed4044d4372833194a277f3149e8531faa130ecaaf432e7802 is not held by project TRIG"]).await;

    let world = named_world().await;
    world.blobs.delete(&digest_from_bytes(b"file")).await.unwrap();
    world
        .check(expect!["blob 39aac93919e644bc384a2c14a24d6c8c4b57159cc1b54d2c469d79be97d1bf51 is missing"])
        .await;
}

#[tokio::test]
async fn a_job_that_is_being_removed_may_have_lost_what_it_named() {
    let world = named_world().await;
    let deleted = DeletedRecord { since: Micros(1), until: Micros(1), reason: "x".into(), removing: true };
    let snapshots = world.store.read_snapshots(&project()).await.unwrap();
    let mut writes = Writes::new();
    writes.put_deleted(&JOB, &deleted);
    writes.delete_snapshot(&project(), &snapshots[0]);
    world.store.commit(writes).await.unwrap();
    world.check(expect![""]).await;
}

/// A backend that cannot read some families.
struct Unreadable {
    kv: Arc<MemoryKv>,
    families: Vec<Family>,
}

#[async_trait]
impl KvRead for Unreadable {
    async fn get(&self, key: &Key) -> Result<Option<Bytes>, ReadError> {
        self.kv.get(key).await
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Bytes>>, ReadError> {
        self.kv.get_many(keys).await
    }

    async fn scan(&self, scan: Scan) -> Result<KvPage, ReadError> {
        let family = scan.range.family;
        if self.families.contains(&family) {
            return Err(ReadError::Corrupt { family, cause: "a damaged block".into() });
        }
        self.kv.scan(scan).await
    }
}

#[async_trait]
impl Kv for Unreadable {
    fn limits(&self) -> Limits {
        self.kv.limits()
    }

    async fn snapshot(&self) -> Result<Arc<dyn KvRead>, ReadError> {
        self.kv.snapshot().await
    }

    async fn commit(&self, batch: Batch) -> Result<(), CommitError> {
        self.kv.commit(batch).await
    }

    async fn clear(&self, range: KeyRange) -> Result<(), CommitError> {
        self.kv.clear(range).await
    }
}

#[tokio::test]
async fn a_family_that_cannot_be_read_hides_no_other() {
    for (families, told) in [
        (
            vec![Family::State],
            expect![
                "stored data of family State is damaged: a damaged block; what comes behind it in that family was not looked at, nor compared with anything"
            ],
        ),
        (
            vec![Family::Log, Family::Bulk],
            expect![[r#"
            stored data of family Log is damaged: a damaged block; what comes behind it in that family was not looked at, nor compared with anything
            stored data of family Bulk is damaged: a damaged block; what comes behind it in that family was not looked at, nor compared with anything
            blob df19b1f105ff929191ce49d0bbfdc5b4edc2a71a40f502dc955359eb33649e24 is missing"#]],
        ),
    ] {
        let world = sealed_world().await;
        world.blobs.delete(&digest_from_bytes(b"bytes")).await.unwrap();
        let whole = world.store.check(&world.blobs, &mut |_| ()).await;
        let kv = Unreadable { kv: world.kv.clone(), families: families.clone() };
        let world = World { store: Store::open(Arc::new(kv), [7; 32]).await.unwrap(), ..world };
        let checked = world.check(told).await;
        let reads = |family| !families.contains(&family);
        assert_eq!(checked.sheets == whole.sheets, reads(Family::Bulk), "{checked:?}");
        assert_eq!(checked.frames == whole.frames, reads(Family::Log), "{checked:?}");
        assert_eq!(checked.blobs == whole.blobs, reads(Family::State), "{checked:?}");
    }
}
