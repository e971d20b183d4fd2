//! The bytes of every record, written down: a change of them is a change of the disk format.

use std::collections::BTreeMap;

use expect_test::{Expect, expect};
use neptune_wire::id::ClaimId;
use neptune_wire::job::{Direction, Exit, ExitKind, Metric, Param};
use neptune_wire::project::{Retention, RetentionRule};
use neptune_wire::{
    AttemptNumber, ChannelKind, ChannelName, ChannelOrigin, Chart, Digest, JobState, JobUid, Line, Micros,
    Number, ParamName, ParamValue, ProjectKey, Series, Tag,
};

use super::*;

#[track_caller]
fn check<R: Record + PartialEq + std::fmt::Debug>(record: &R, bytes: Expect) {
    let encoded = record.encode();
    bytes.assert_eq(&encoded.escape_ascii().to_string());
    assert_eq!(&R::decode(&encoded).unwrap(), record);
    for cut in 0..encoded.len() {
        assert!(R::decode(&encoded[..cut]).is_err(), "cut at {cut} is noticed");
    }
    let longer = [&encoded[..], &[0]].concat();
    assert_eq!(R::decode(&longer), Err(RecordError::Damaged { name: R::NAME }));
    let newer = [&[R::VERSION + 1], &encoded[1..]].concat();
    let refused = RecordError::Version { name: R::NAME, version: R::VERSION + 1, known: R::VERSION };
    assert_eq!(R::decode(&newer), Err(refused));
}

fn status() -> StatusRecord {
    StatusRecord {
        state: JobState::Aborting,
        attempt: Some(AttemptNumber(2)),
        silent_since: Some(Micros(-1)),
        reason: Some("why".into()),
        exit_code: Some(-2),
        started: Some(Micros(3)),
        ended: None,
        abort: Some(AbortRecord { reason: "stop".into(), grace_millis: 300 }),
    }
}

#[test]
fn projects_and_jobs() {
    check(
        &ProjectRecord { name: "Trigonometry".into(), created: Micros(1), last_number: 300, jobs: 2 },
        expect![[r#"\x01\x0cTrigonometry\x02\xac\x02\x02"#]],
    );
    let job = |arrived| JobRecord {
        revision: 5,
        project: ProjectKey::new("TRIG").unwrap(),
        number: 12,
        name: "sine".into(),
        description: String::new(),
        tags: vec![Tag::new("a").unwrap()],
        created: Micros(1_700_000_000_000_000),
        status: status(),
        arrived,
    };
    check(
        &job(Some(Micros(7))),
        expect![[
            r#"\x02\x05\x04TRIG\x0c\x04sine\x00\x01\x01a\x80\x80\xf2\x81\x83\x89\x85\x06\x06\x01\x02\x01\x01\x01\x03why\x01\x03\x01\x06\x00\x01\x04stop\xac\x02\x01\x0e"#
        ]],
    );
    // As version 1 wrote every job, and as one is written on that says no more.
    let first = job(None).encode();
    expect![[
        r#"\x01\x05\x04TRIG\x0c\x04sine\x00\x01\x01a\x80\x80\xf2\x81\x83\x89\x85\x06\x06\x01\x02\x01\x01\x01\x03why\x01\x03\x01\x06\x00\x01\x04stop\xac\x02"#
    ]]
    .assert_eq(&first.escape_ascii().to_string());
    assert_eq!(JobRecord::decode(&first).unwrap(), job(None));
    for cut in 0..first.len() {
        assert!(JobRecord::decode(&first[..cut]).is_err(), "cut at {cut} is noticed");
    }
    let longer = [&first[..], &[0]].concat();
    assert_eq!(JobRecord::decode(&longer), Err(RecordError::Damaged { name: JobRecord::NAME }));
    let none = [&[0], &first[1..]].concat();
    assert!(matches!(JobRecord::decode(&none), Err(RecordError::Version { version: 0, .. })));
}

#[test]
fn job_specs() {
    let param = |name: &str, value| Param {
        name: ParamName::new(name).unwrap(),
        value,
        description: "d".into(),
        required: true,
        default: Some(ParamValue::Boolean(true)),
    };
    let spec = JobSpec {
        params: vec![
            param("i", ParamValue::Integer(-1)),
            param("d", ParamValue::Double(Number(f64::INFINITY))),
            param("s", ParamValue::String("x".into())),
        ],
        command: vec!["python".into(), "main.py".into()],
        environment: BTreeMap::from([("os".into(), "linux".into())]),
        metric: Some(Metric { channel: ChannelName::new("loss").unwrap(), direction: Direction::Minimize }),
        snapshot: Some(Digest::from_bytes([b'#'; 32])),
    };
    check(
        &spec,
        expect![[
            r#"\x01\x03\x01i\x01\x01\x01d\x01\x01\x00\x01\x01d\x02\x00\x00\x00\x00\x00\x00\xf0\x7f\x01d\x01\x01\x00\x01\x01s\x03\x01x\x01d\x01\x01\x00\x01\x02\x06python\x07main.py\x01\x02os\x05linux\x01\x04loss\x01\x01################################"#
        ]],
    );
    check(&JobSpec::default(), expect![[r#"\x01\x00\x00\x00\x00\x00"#]]);
    assert_eq!(params_from_spec(&spec.encode()).unwrap(), spec.params);
    assert_eq!(params_from_spec(b"\x01\x03\x01"), Err(RecordError::Damaged { name: JobSpec::NAME }));
    assert!(params_from_spec(b"\x02").is_err());
}

#[test]
fn attempts_and_tokens() {
    let exit = |how| Exit { how, ended_micros: Micros(9), aborted: true, reason: Some("r".into()) };
    let attempt = |exit| AttemptRecord {
        claim: ClaimId::from_bytes([b'c'; 16]),
        executor: "self".into(),
        host: Some("h".into()),
        claimed: Micros(4),
        exit,
    };
    check(
        &attempt(Some(exit(ExitKind::Code { code: 1 }))),
        expect![[r#"\x01cccccccccccccccc\x04self\x01\x01h\x08\x01\x00\x02\x12\x01\x01\x01r"#]],
    );
    check(
        &attempt(Some(exit(ExitKind::Signal { signal: 9 }))),
        expect![[r#"\x01cccccccccccccccc\x04self\x01\x01h\x08\x01\x01\x12\x12\x01\x01\x01r"#]],
    );
    check(
        &attempt(Some(exit(ExitKind::NotStarted))),
        expect![[r#"\x01cccccccccccccccc\x04self\x01\x01h\x08\x01\x02\x12\x01\x01\x01r"#]],
    );
    check(&attempt(None), expect![[r#"\x01cccccccccccccccc\x04self\x01\x01h\x08\x00"#]]);
    check(
        &TokenRecord { job: JobUid::from_bytes([b'j'; 16]), attempt: AttemptNumber(3) },
        expect![[r#"\x01jjjjjjjjjjjjjjjj\x03"#]],
    );
    check(&AdminTokenRecord { name: "me".into(), created: Micros(0) }, expect![[r#"\x01\x02me\x00"#]]);
}

#[test]
fn channels_and_charts() {
    check(
        &ChannelRecord {
            name: ChannelName::new("sys/stdout").unwrap(),
            kind: ChannelKind::Text,
            origin: ChannelOrigin::Stdout,
            created: Micros(1),
        },
        expect![[r#"\x01\nsys/stdout\x02\x03\x02"#]],
    );
    let chart = Chart {
        name: "both".parse().unwrap(),
        series: vec![Series {
            name: "train".into(),
            channel: ChannelName::new("loss").unwrap(),
            line: Line::Dot,
        }],
    };
    check(&ChartRecord::from(&chart), expect![[r#"\x01\x04both\x01\x05train\x04loss\x02"#]]);
    assert_eq!(Chart::from(ChartRecord::from(&chart)), chart);
}

#[test]
fn sessions_and_counts() {
    check(&SessionRecord { attempt: AttemptNumber(1), mark: 300 }, expect![[r#"\x01\x01\xac\x02"#]]);
    check(&BindingsRecord { channels: vec![(0, 7), (1, 200)] }, expect![[r#"\x01\x02\x00\x07\x01\xc8\x01"#]]);
    check(&DroppedRecord { points: 128 }, expect![[r#"\x01\x80\x01"#]]);
    check(
        &AppendedRecord { points: 1, asked: [b'a'; 32] },
        expect![[r#"\x01\x01aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"#]],
    );
}

#[test]
fn ends_of_life() {
    check(
        &DeletedRecord { since: Micros(1), until: Micros(2), reason: "why".into(), removing: true },
        expect![[r#"\x01\x02\x04\x03why\x01"#]],
    );
    check(&UnneededRecord { since: Micros(64) }, expect![[r#"\x01\x80\x01"#]]);
    let rule = RetentionRule {
        states: vec![JobState::Failed],
        older_than_days: Some(30),
        keep_last: Some(200),
        keep_tagged: vec![Tag::new("best").unwrap()],
    };
    let retention = Retention { rules: vec![rule, RetentionRule::default()] };
    check(
        &RetentionRecord::from(&retention),
        expect![[r#"\x01\x02\x01\x08\x01\x1e\x01\xc8\x01\x01\x04best\x00\x00\x00\x00"#]],
    );
    assert_eq!(Retention::from(RetentionRecord::from(&retention)), retention);
}

#[test]
fn every_choice_comes_back() {
    for state in JobState::ALL {
        let record = StatusRecord { state, ..status() };
        let bytes = postcard::to_allocvec(&record).unwrap();
        assert_eq!(postcard::from_bytes::<StatusRecord>(&bytes).unwrap(), record);
    }
    for origin in [ChannelOrigin::User, ChannelOrigin::System, ChannelOrigin::Stdout, ChannelOrigin::Stderr] {
        for kind in [ChannelKind::Numeric, ChannelKind::Text, ChannelKind::Image] {
            let name = ChannelName::new("a").unwrap();
            let record = ChannelRecord { name, kind, origin, created: Micros(0) };
            assert_eq!(ChannelRecord::decode(&record.encode()).unwrap(), record);
        }
    }
}

#[test]
fn sealed_text_and_logs() {
    let mut steps = Steps::default();
    steps.add(1.5, 7);
    let rows = RowsState { count: 300, last_sheet: 200, steps };
    check(
        &ChannelStateRecord { seq: 9, state: ChannelState::Text(rows) },
        expect![[
            r#"\x01\t\x01\xac\x02\xc8\x01\x00\x00\x00\x00\x00\x00\xf8?\x00\x00\x00\x00\x00\x00\xf8?\x00\x00\x00\x00\x00\x00\xf8?\x0e"#
        ]],
    );
    check(
        &ChannelStateRecord { seq: 9, state: ChannelState::Images(rows) },
        expect![[
            r#"\x01\t\x03\xac\x02\xc8\x01\x00\x00\x00\x00\x00\x00\xf8?\x00\x00\x00\x00\x00\x00\xf8?\x00\x00\x00\x00\x00\x00\xf8?\x0e"#
        ]],
    );
    let cursor = LogCursor { attempt: Some(AttemptNumber(2)), next: 400, announced: 3 };
    let log = LogState { length: 500, lines: 6, open: 1, last_sheet: 8, cursor, steps };
    check(
        &ChannelStateRecord { seq: 9, state: ChannelState::Log(log) },
        expect![[
            r#"\x01\t\x02\xf4\x03\x06\x01\x08\x01\x02\x90\x03\x03\x00\x00\x00\x00\x00\x00\xf8?\x00\x00\x00\x00\x00\x00\xf8?\x00\x00\x00\x00\x00\x00\xf8?\x0e"#
        ]],
    );
}
