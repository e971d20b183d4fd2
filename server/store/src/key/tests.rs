//! Keys are read as they were written, sort as they should, and each kind has a tag of its own.

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

fn project() -> impl Strategy<Value = ProjectKey> {
    "[A-Z][A-Z0-9]{0,15}".prop_map(|text| ProjectKey::new(&text).unwrap())
}

fn job() -> impl Strategy<Value = JobUid> {
    any::<[u8; 16]>().prop_map(JobUid::from_bytes)
}

fn session() -> impl Strategy<Value = SessionId> {
    any::<[u8; 16]>().prop_map(SessionId::from_bytes)
}

fn digest() -> impl Strategy<Value = Digest> {
    any::<[u8; 32]>().prop_map(Digest::from_bytes)
}

/// One strategy per kind of key; `every_kind_has_a_sample` holds it complete.
fn kinds() -> Vec<BoxedStrategy<StoreKey>> {
    vec![
        Just(StoreKey::Format).boxed(),
        Just(StoreKey::ServerKey).boxed(),
        project().prop_map(|project| StoreKey::Project { project }).boxed(),
        (project(), digest()).prop_map(|(project, digest)| StoreKey::ProjectBlob { project, digest }).boxed(),
        (project(), digest()).prop_map(|(project, digest)| StoreKey::Snapshot { project, digest }).boxed(),
        job().prop_map(|job| StoreKey::Job { job }).boxed(),
        (job(), any::<u16>()).prop_map(|(job, part)| StoreKey::JobSpec { job, part }).boxed(),
        (job(), ".{0,40}").prop_map(|(job, name)| StoreKey::JobProperty { job, name }).boxed(),
        (project(), any::<u64>())
            .prop_map(|(project, number)| StoreKey::JobNumber { project, number })
            .boxed(),
        (job(), any::<u32>())
            .prop_map(|(job, number)| StoreKey::Attempt { job, attempt: AttemptNumber(number) })
            .boxed(),
        digest().prop_map(|hash| StoreKey::AttemptToken { hash }).boxed(),
        digest().prop_map(|hash| StoreKey::AdminToken { hash }).boxed(),
        job().prop_map(|job| StoreKey::JobDeleted { job }).boxed(),
        project().prop_map(|project| StoreKey::Retention { project }).boxed(),
        (job(), any::<u32>()).prop_map(|(job, channel)| StoreKey::Channel { job, channel }).boxed(),
        (job(), any::<u32>()).prop_map(|(job, number)| StoreKey::Chart { job, number }).boxed(),
        (job(), session()).prop_map(|(job, session)| StoreKey::Session { job, session }).boxed(),
        (job(), session(), any::<u32>())
            .prop_map(|(job, session, part)| StoreKey::Bindings { job, session, part })
            .boxed(),
        job().prop_map(|job| StoreKey::Dropped { job }).boxed(),
        (job(), digest()).prop_map(|(job, hash)| StoreKey::Appended { job, hash }).boxed(),
        (job(), any::<u64>()).prop_map(|(job, seq)| StoreKey::Frame { job, seq }).boxed(),
        job().prop_map(|job| StoreKey::Seal { job }).boxed(),
        (job(), any::<u32>()).prop_map(|(job, channel)| StoreKey::ChannelState { job, channel }).boxed(),
        (job(), any::<u32>(), any::<u64>())
            .prop_map(|(job, channel, first)| StoreKey::Chunk { job, channel, first })
            .boxed(),
        (job(), any::<u32>(), any::<u8>(), any::<u64>())
            .prop_map(|(job, channel, level, page)| StoreKey::Page { job, channel, level, page })
            .boxed(),
        any::<(u32, u64, u16)>()
            .prop_map(|(chunk, generation, part)| StoreKey::TablePart { chunk, generation, part })
            .boxed(),
        (job(), any::<u32>(), any::<u64>())
            .prop_map(|(job, channel, first)| StoreKey::Sheet { job, channel, first })
            .boxed(),
        (job(), any::<u32>(), any::<u64>(), any::<u64>())
            .prop_map(|(job, channel, line, first)| StoreKey::LogLine { job, channel, line, first })
            .boxed(),
    ]
}

/// Fails to compile when a tag is added, so that [`kinds`] is not forgotten.
fn index(tag: Tag) -> usize {
    match tag {
        Tag::Format => 0,
        Tag::ServerKey => 1,
        Tag::Project => 2,
        Tag::ProjectBlob => 3,
        Tag::Snapshot => 4,
        Tag::Job => 5,
        Tag::JobSpec => 6,
        Tag::JobProperty => 7,
        Tag::JobNumber => 8,
        Tag::Attempt => 9,
        Tag::AttemptToken => 10,
        Tag::AdminToken => 11,
        Tag::JobDeleted => 12,
        Tag::Retention => 13,
        Tag::Channel => 14,
        Tag::Chart => 15,
        Tag::Session => 16,
        Tag::Bindings => 17,
        Tag::Dropped => 18,
        Tag::Appended => 19,
        Tag::Frame => 20,
        Tag::Seal => 21,
        Tag::ChannelState => 22,
        Tag::Chunk => 23,
        Tag::Page => 24,
        Tag::TablePart => 25,
        Tag::Sheet => 26,
        Tag::LogLine => 27,
    }
}

#[test]
fn every_kind_has_a_sample_and_a_tag_of_its_own() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut tags = HashSet::new();
    for (at, kind) in kinds().iter().enumerate() {
        let key = kind.new_tree(&mut runner).unwrap().current();
        assert_eq!(index(key.tag()), at);
        assert!(tags.insert(key.tag().bytes()), "{:?} twice", key.tag());
    }
    assert_eq!(tags.len(), index(Tag::LogLine) + 1);
}

#[test]
fn what_a_job_produced_is_all_listed() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let keys = kinds().into_iter().map(|kind| kind.new_tree(&mut runner).unwrap().current());
    let data: Vec<Tag> = keys.filter(|key| key.data_job().is_some()).map(|key| key.tag()).collect();
    assert_eq!(data, Tag::DATA);
}

#[test]
fn frames_lie_apart_and_sort_by_job_and_sequence() {
    let job = JobUid::from_bytes([1; 16]);
    let frame = StoreKey::Frame { job, seq: 0x0102 }.encode();
    expect_test::expect![[
        r#"Log:\x01\x00fr\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x00\x00\x00\x00\x00\x00\x01\x02"#
    ]]
    .assert_eq(&frame.to_string());
    assert!(Tag::Frame.job_range(&job).contains(&frame));
    assert!(Tag::Frame.shard_range(shard_of(&job)).contains(&frame));
}

proptest! {
    #[test]
    fn a_key_comes_back(key in proptest::strategy::Union::new(kinds())) {
        let encoded = key.encode();
        prop_assert_eq!(StoreKey::decode(encoded.family, &encoded.bytes), Ok(key));
    }

    #[test]
    fn other_bytes_are_no_key(key in proptest::strategy::Union::new(kinds()), cut in 0..64_usize) {
        let encoded = key.encode();
        let cut = &encoded.bytes[..cut.min(encoded.bytes.len())];
        if let Ok(found) = StoreKey::decode(encoded.family, cut) {
            prop_assert_eq!(&found.encode().bytes[..], cut);
        }
        let other = if encoded.family == Family::Bulk { Family::Log } else { Family::Bulk };
        prop_assert!(StoreKey::decode(other, &encoded.bytes).is_err());
    }

    #[test]
    fn order_of_fields_is_order_of_bytes(
        pair in proptest::sample::select(kinds()).prop_flat_map(|kind| (kind.clone(), kind)),
    ) {
        let (a, b) = pair;
        let shard = |key: &StoreKey| key.data_job().map(shard_of);
        prop_assert_eq!((shard(&a), &a).cmp(&(shard(&b), &b)), a.encode().cmp(&b.encode()));
    }
}
