//! How long a question takes over many jobs. It asserts what is answered, not how fast: figures are printed.

use std::time::Instant;

use neptune_wire::{ChannelSummary, Number};

use super::super::filter::{parse_filter, parse_operands, parse_sort};
use super::super::group::Groups;
use super::super::order::{Order, order_number};
use super::super::plan::Plan;
use super::super::rows::{MetricCells, Rows};
use super::{NOW, model};

const METRICS: usize = 10;
const ASKED: usize = 40;

/// Numbers that look random and are the same every time (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((bits ^ (bits >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

fn filled(jobs: u64) -> Rows {
    let mut rows = Rows::default();
    let mut random = Random(1);
    for number in 1..=jobs {
        let mut row =
            model::row(number, &format!("job {}", number % 1_000), Some((number % 50) as f64 / 100.0), None);
        row.job.created_micros.0 = number as i64;
        rows.take_job(&row.job);
        let at = rows.find(&row.job.uid).unwrap();
        for metric in 0..METRICS {
            let value = Some(Number(random.next()));
            let summary = ChannelSummary {
                count: 10,
                last: value,
                min: value,
                max: value,
                mean: value,
                ..ChannelSummary::default()
            };
            rows.take_metric(at, &format!("metric {metric}"), &MetricCells::from(&summary));
        }
        rows.note_change(at);
    }
    rows
}

fn measure(jobs: u64, what: &str, mut ask: impl FnMut() -> u64) {
    let mut times: Vec<f64> = Vec::new();
    let mut answer = 0;
    for _ in 0..ASKED {
        let begin = Instant::now();
        answer = ask();
        times.push(begin.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    println!(
        "{jobs} jobs, {what}: p50 {:.2} ms, worst of {ASKED} {:.2} ms, {answer} found",
        times[ASKED / 2],
        times[ASKED - 1]
    );
}

#[test]
#[ignore = "prints figures"]
#[allow(clippy::print_stdout)]
fn questions_over_many_jobs() {
    for jobs in [100_000, 1_000_000] {
        let begin = Instant::now();
        let rows = filled(jobs);
        println!(
            "{jobs} jobs with {METRICS} metrics taken in within {:.0} ms",
            begin.elapsed().as_secs_f64() * 1e3
        );
        for (filter, sort) in [
            ("metric.\"metric 1\" < 0.5 and metric.\"metric 2\".max > 0.5", "-metric.\"metric 3\".min"),
            ("metric.\"metric 1\" < 0.001", "metric.\"metric 1\""),
            ("", "-created"),
            ("", "state,metric.\"metric 1\""),
            ("name ~ '7$' and param.lr >= 0.1", "name"),
        ] {
            measure(jobs, &format!("{filter:?} by {sort}"), || {
                let expr = parse_filter(filter).unwrap();
                let plan = Plan::new(&rows, &expr, NOW).unwrap();
                let sort = parse_sort(sort).unwrap();
                let top = Order::new(&rows, &sort, NOW).top(&[&plan], None, 100);
                assert_eq!(top.rows.len(), 100.min(top.total as usize));
                top.total
            });
        }
        measure(jobs, "two words", || {
            let plans = [Plan::word(&rows, "job"), Plan::word(&rows, "77")];
            let plans: Vec<&Plan<'_>> = plans.iter().collect();
            Order::new(&rows, &parse_sort("-created").unwrap(), NOW).top(&plans, None, 100).total
        });
        let (group, columns) =
            (parse_operands("param.lr").unwrap(), parse_operands("metric.\"metric 1\"").unwrap());
        measure(jobs, "groups of param.lr with a metric", || {
            let order = order_number("");
            let groups =
                Groups { rows: &rows, group: &group, columns: &columns, sort: vec![], now: NOW, order };
            groups.top(&[], None, 100).unwrap().total
        });
    }
}

fn resident_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4_096
}

/// Jobs as they lie on disk, each with ten params, thirty facts of its environment, two attempts and ten metrics.
pub(super) fn stored(number: u64) -> neptune_store::StoredJob {
    use neptune_store::{AttemptRecord, JobRecord, JobSpec, StatusRecord, StoredJob};
    use neptune_wire::{AttemptNumber, JobState, Micros, ParamValue, ProjectKey};
    let params = (0..10).map(|at| {
        model::param(&format!("param_{at}"), ParamValue::Double(Number(number as f64 / f64::from(at + 1))))
    });
    let environment = (0..30).map(|at| (format!("package-{at}"), format!("{at}.{}.1", number % 3)));
    let attempt = AttemptRecord {
        claim: neptune_wire::id::ClaimId::from_bytes([1; 16]),
        executor: "self".into(),
        host: Some("box".into()),
        claimed: NOW,
        exit: None,
    };
    StoredJob {
        uid: neptune_wire::JobUid::from_bytes(u128::from(number).to_be_bytes()),
        record: JobRecord {
            revision: 1,
            project: ProjectKey::new("TRIG").unwrap(),
            number,
            name: format!("job {number}"),
            description: String::new(),
            tags: vec![],
            created: Micros(number as i64),
            status: StatusRecord {
                state: JobState::Succeeded,
                attempt: Some(AttemptNumber(2)),
                silent_since: None,
                reason: None,
                exit_code: Some(0),
                started: Some(NOW),
                ended: Some(NOW),
                abort: None,
            },
            arrived: None,
        },
        spec: JobSpec {
            params: params.collect(),
            command: vec!["python".into(), "train.py".into(), "--epochs".into(), "10".into()],
            environment: environment.collect(),
            metric: None,
            snapshot: None,
        },
        properties: Default::default(),
        attempts: vec![attempt; 2],
        deleted: None,
    }
}

#[tokio::test]
#[ignore = "prints figures"]
#[allow(clippy::print_stdout)]
async fn memory_of_many_jobs() {
    const JOBS: u64 = 100_000;
    let engine = crate::testing::engine().await.0;
    let before = resident_bytes();
    let begin = Instant::now();
    for number in 1..=JOBS {
        engine.core.registry.add_job(stored(number), 0);
    }
    let registered = (resident_bytes(), begin.elapsed());
    let rows = engine.core.registry.table.current();
    drop(rows);
    let taken = (resident_bytes(), begin.elapsed());
    let mib = |from: u64, to: u64| (to - from) as f64 / f64::from(1 << 20);
    println!("registry: {:.0} MiB, {:?}", mib(before, registered.0), registered.1);
    println!(
        "rows of ten params: {:.0} MiB, {:?} (decoding included)",
        mib(registered.0, taken.0),
        taken.1 - registered.1
    );
    let rows = filled(JOBS);
    println!("table of ten metrics: {:.0} MiB", mib(taken.0, resident_bytes()));
    assert_eq!(rows.metrics().len(), METRICS);
}
