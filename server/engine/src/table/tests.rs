//! The table against a plain look at every job: what a filter finds, in which order, page by page, and in which groups.

mod condition;
pub(super) mod model;
mod speed;
mod through_the_engine;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use expect_test::expect;
use neptune_wire::table::{ColumnKind, TableValue};
use neptune_wire::{Micros, Number, ParamValue};
use proptest::prelude::*;

use self::condition::{condition, key_of, operand};
use self::model::{Row, rows, table};
use super::answer;
use super::filter::{Field, Operand, Stat, parse_filter, parse_operands, parse_sort};
use super::group::{self, Groups};
use super::order::{Cursor, Order, compare_keys, order_number};
use super::paged::{PAGE_ROWS, rows_of};
use super::plan::Plan;
use super::rows::{Rows, Shown};
use crate::registry::JobCell;

const NOW: Micros = Micros(1_000_000_000_000);

/// Numbers of the jobs that a filter finds, in order of their rows.
fn found(rows: &Rows, filter: &str) -> Result<Vec<u64>, String> {
    let expr = parse_filter(filter).map_err(|error| error.to_string())?;
    let plan = Plan::new(rows, &expr, NOW).map_err(|error| error.to_string())?;
    let mut found = Vec::new();
    for page in 0..rows.page_count() {
        for at in rows_of(&plan.select(page, &rows.present(page))) {
            found.push(rows.id(page * PAGE_ROWS as u32 + at).unwrap().number);
        }
    }
    Ok(found)
}

fn sorted_by<'a>(all: &'a [Row], sort: &[(Operand, bool)]) -> Vec<&'a Row> {
    let mut sorted: Vec<&Row> = all.iter().collect();
    sorted.sort_by(|a, b| {
        for (operand, falls) in sort {
            let order = compare_keys(key_of(a, operand).as_ref(), key_of(b, operand).as_ref(), *falls);
            if order.is_ne() {
                return order;
            }
        }
        let by_age = |operand: &Operand| matches!(operand, Operand::Field(Field::Created | Field::Id));
        let rises = sort.last().is_some_and(|(operand, falls)| by_age(operand) && !falls);
        let ids = a.job.id.number.cmp(&b.job.id.number);
        if rises { ids } else { ids.reverse() }
    });
    sorted
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_filter_finds_what_a_look_at_every_job_finds(all in rows(40), condition in condition()) {
        let table = table(&all);
        let text = condition.to_string();
        let wanted: Vec<u64> =
            all.iter().filter(|row| condition.holds(row)).map(|row| row.job.id.number).collect();
        prop_assert_eq!(found(&table, &text), Ok(wanted), "{}", text);
    }

    #[test]
    fn rows_that_change_and_go_leave_nothing_behind(
        before in rows(20), after in rows(20), gone in proptest::collection::vec(0_usize..20, 0..20), condition in condition(),
    ) {
        let mut table = table(&before);
        for at in gone {
            if let Some(row) = before.get(at) {
                table.remove(&row.job.uid);
            }
        }
        // Jobs of the same uid take their old row or the row of one that is gone; params of a job never change.
        let mut all = after;
        for row in &mut all {
            if let Some(old) = before.iter().find(|old| old.job.uid == row.job.uid && table.find(&old.job.uid).is_some()) {
                row.job.params = old.job.params.clone();
                for (name, cells) in &old.metrics {
                    row.metrics.entry(name.clone()).or_insert(*cells);
                }
            }
            row.put(&mut table);
        }
        let still = before.iter().filter(|row| table.find(&row.job.uid).is_some());
        let still: Vec<Row> = still.filter(|row| all.iter().all(|new| new.job.uid != row.job.uid)).cloned().collect();
        all.extend(still);
        let mut wanted: Vec<u64> =
            all.iter().filter(|row| condition.holds(row)).map(|row| row.job.id.number).collect();
        wanted.sort_unstable();
        let mut got = found(&table, &condition.to_string()).unwrap();
        got.sort_unstable();
        prop_assert_eq!(got, wanted);
    }

    #[test]
    fn pages_are_the_whole_order_cut_in_pieces(
        all in rows(60), condition in condition(), limit in 1_usize..9,
        keys in proptest::collection::vec((operand(), any::<bool>()), 1..4),
    ) {
        let table = table(&all);
        let expr = parse_filter(&condition.to_string()).unwrap();
        let plan = Plan::new(&table, &expr, NOW).unwrap();
        let sort: Vec<String> = keys.iter().map(|(operand, falls)| format!("{}{operand}", if *falls { "-" } else { "" })).collect();
        let sort = parse_sort(&sort.join(",")).unwrap();
        let order = Order::new(&table, &sort, NOW);
        let mut pages: Vec<u64> = Vec::new();
        let mut after: Option<Cursor> = None;
        let wanted: Vec<u64> = sorted_by(&all, &sort).into_iter().filter(|row| condition.holds(row)).map(|row| row.job.id.number).collect();
        loop {
            let top = order.top(&[&plan], after.as_ref(), limit);
            prop_assert_eq!(top.total as usize, wanted.len());
            prop_assert!(top.rows.len() <= limit);
            pages.extend(top.rows.iter().map(|row| table.id(*row).unwrap().number));
            if !top.more {
                break;
            }
            let cursor = order.cursor(*top.rows.last().unwrap(), NOW, order_number("x"));
            after = Some(Cursor::read(&cursor.write()).unwrap());
        }
        prop_assert_eq!(pages, wanted);
    }
}

/// Columns that rows can be grouped by.
fn grouped() -> impl Strategy<Value = Vec<Operand>> {
    let one = prop_oneof![
        3 => operand(),
        1 => proptest::sample::select(vec![Operand::Field(Field::Tag), Operand::Field(Field::Host), Operand::Field(Field::Attempt)]),
    ];
    proptest::collection::vec(one, 1..3)
        .prop_filter("each once", |group| group.len() < 2 || group[0] != group[1])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn the_filter_of_a_group_finds_its_jobs(all in rows(40), group in grouped(), limit in 1_usize..9) {
        let table = table(&all);
        let groups = Groups { rows: &table, group: &group, columns: &[], sort: vec![], now: NOW, order: 7 };
        let mut seen = std::collections::HashSet::new();
        let mut after: Option<Cursor> = None;
        loop {
            let top = groups.top(&[], after.as_ref(), limit).unwrap();
            for found_group in &top.groups {
                prop_assert!(seen.insert(found_group.filter.clone()), "twice {}", found_group.filter);
                let jobs = found(&table, &found_group.filter).map(|jobs| jobs.len() as u64);
                prop_assert_eq!(jobs, Ok(found_group.jobs), "{}", &found_group.filter);
            }
            let Some(next) = top.next else {
                prop_assert_eq!(seen.len() as u64, top.total);
                break;
            };
            after = Some(Cursor::read(&next.write()).unwrap());
        }
    }
}

/// A table whose answers are known by looking at it.
fn small() -> Rows {
    let mut rows = Rows::default();
    for (number, name, lr, loss) in [
        (1, "alpha", Some(0.1), Some(0.5)),
        (2, "Beta", Some(0.01), Some(f64::NAN)),
        (3, "gamma", None, Some(f64::INFINITY)),
        (4, "", Some(0.1), None),
    ] {
        let row = model::row(number, name, lr, loss);
        row.put(&mut rows);
    }
    rows
}

#[track_caller]
fn check(filter: &str, wanted: Result<&[u64], &str>) {
    let rows = small();
    assert_eq!(found(&rows, filter), wanted.map(<[u64]>::to_vec).map_err(str::to_owned), "{filter}");
}

#[test]
fn absent_and_nan_are_two_things() {
    check("metric.loss < 1", Ok(&[1]));
    check("metric.loss >= 0", Ok(&[1, 3]));
    check("metric.loss != 0.5", Ok(&[3]));
    check("not metric.loss = 0.5", Ok(&[2, 3, 4]));
    check("metric.loss is nan", Ok(&[2]));
    check("metric.loss is not nan", Ok(&[1, 3]));
    check("metric.loss is null", Ok(&[4]));
    check("metric.loss = null", Ok(&[4]));
    check("exists(metric.loss)", Ok(&[1, 2, 3]));
    check("metric.loss not in (0.5)", Ok(&[3]));
    check("metric.loss = inf", Ok(&[3]));
    check("metric.none is null", Ok(&[1, 2, 3, 4]));
    check("metric.none < 1 or metric.none >= 1", Ok(&[]));
    check("param.lr != 0.1", Ok(&[2]));
}

#[test]
fn numbers_have_no_order_among_texts() {
    // Jobs 1 and 4 have lr 0.1, job 2 has 0.01, job 3 has none.
    check("param.lr < zzz", Ok(&[]));
    check("param.lr > ''", Ok(&[]));
    check("param.lr != zzz", Ok(&[1, 2, 4]));
    check("param.lr in (zzz, 0.01)", Ok(&[2]));
    check("param.lr not in (zzz, '0.10')", Ok(&[2]));
    check("property.branch < 5", Ok(&[]));
    check("property.branch > '5'", Ok(&[1, 3]));
    check("property.branch != 5", Ok(&[1, 3]));
}

#[test]
fn mlflow_spellings_find_the_same() {
    check("params.lr = '0.1'", Ok(&[1, 4]));
    check("params.lr = \"1e-1\"", Ok(&[1, 4]));
    check("metrics.loss > 0.4 AND params.lr = '0.1'", Ok(&[1]));
    check("attributes.status = 'FINISHED' or status = 'RUNNING'", Ok(&[1, 2, 3, 4]));
    check("attributes.run_name LIKE '%a' and run_name ILIKE 'B%'", Ok(&[2]));
    check("tags.branch = 'main'", Ok(&[1, 3]));
    check("run_id in ('TRIG-1', '00000000000000000000000000000003')", Ok(&[1, 3]));
    check("attributes.start_time >= 3", Ok(&[3, 4]));
}

#[test]
fn values_must_fit_their_column() {
    check("metric.loss = abc", Err("column 15: expected a number such as 0.1, 1e-3 or -inf; found \"abc\""));
    check(
        "metric.loss like 'a'",
        Err("column 13: metric.loss.last is a number; expected =, !=, <, <=, >, >=, in or is"),
    );
    check(
        "state = runing",
        Err(
            "column 9: expected one of created, queued, dispatched, preparing, running, aborting, succeeded, failed, \
             aborted, lost; found \"runing\"",
        ),
    );
    check(
        "created > yesterday",
        Err(
            "column 11: expected a time such as -7d (ago), 2026-11-24, \"2026-11-24 10:30\" or 2026-11-24T10:30:00Z; found \"yesterday\"",
        ),
    );
    check("duration > 5", Err("column 12: expected a length of time such as 90s or 1h30m; found \"5\""));
    check("name ~ '('", Err("column 8: expected a regular expression; unclosed group"));
    check("name is nan", Err("column 6: name is a text; only a number can be NaN"));
    check("id = x", Err("column 6: expected a job's id such as TRIG-12, or its uid; found \"x\""));
    let large = format!("name ~ '{}'", "(a{1000}){1000}");
    check(&large, Err("column 8: expected a regular expression; it is too large"));
}

fn shown(values: &[Option<TableValue>]) -> String {
    let shown = values.iter().map(|value| match value {
        None => "null".to_owned(),
        Some(value) => shown_value(value),
    });
    shown.collect::<Vec<_>>().join(" ")
}

fn shown_value(value: &TableValue) -> String {
    match value {
        TableValue::Boolean(value) => value.to_string(),
        TableValue::Integer(value) => value.to_string(),
        TableValue::Number(value) => format!("{:?}", value.0),
        TableValue::Text(value) => format!("{value:?}"),
        TableValue::Tags(value) => format!("{value:?}"),
    }
}

/// Whoever finds a job marked may count on it: it is on the list, or being taken in.
#[test]
fn a_job_that_is_marked_is_on_the_list() {
    const ROUNDS: usize = 1_000;
    let marks = super::Table::new().marks().clone();
    let cell = Arc::new(JobCell::new(speed::stored(1), 0, marks.clone()));
    let done = AtomicBool::new(false);
    let missed = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                cell.mark();
                // As it is taken in.
                let mut cells = marks.cells.lock().unwrap();
                cells.clear();
                cell.marked.store(false, Ordering::Release);
            }
        });
        let mut missed = 0;
        for _ in 0..ROUNDS {
            let cells = marks.cells.lock().unwrap();
            // The other is somewhere in front of the lock.
            missed += (0..200).filter(|_| cell.marked.load(Ordering::Acquire) && cells.is_empty()).count();
            drop(cells);
            std::thread::yield_now();
        }
        done.store(true, Ordering::Relaxed);
        missed
    });
    assert_eq!(missed, 0, "times in {ROUNDS} rounds");
}

#[test]
fn numbers_and_texts_that_read_as_one_are_one_group() {
    let mut rows = Rows::default();
    let values = [
        ParamValue::Double(Number(0.1)),
        ParamValue::String("0.1".into()),
        ParamValue::String("1e-1".into()),
        ParamValue::Double(Number(f64::INFINITY)),
        ParamValue::String("inf".into()),
        ParamValue::Double(Number(f64::NAN)),
        ParamValue::String("NaN".into()),
        ParamValue::Boolean(true),
        ParamValue::String("true".into()),
        ParamValue::Integer(1),
        ParamValue::Double(Number(1.0)),
    ];
    for (number, value) in (1..).zip(values) {
        let mut row = model::row(number, "", None, None);
        row.job.params = vec![model::param("lr", value)];
        row.put(&mut rows);
    }
    let group = parse_operands("param.lr").unwrap();
    let groups = Groups { rows: &rows, group: &group, columns: &[], sort: vec![], now: NOW, order: 7 };
    let mut lines = String::new();
    for group in groups.top(&[], None, 100).unwrap().groups {
        lines += &format!("{} {} {:?}\n", group.filter, group.jobs, found(&rows, &group.filter).unwrap());
    }
    expect![[r#"
        param.lr = 0.1 3 [1, 2, 3]
        param.lr = 1 2 [10, 11]
        param.lr = inf 2 [4, 5]
        param.lr = "NaN" 1 [7]
        param.lr = true 2 [8, 9]
        param.lr is nan 1 [6]
    "#]]
    .assert_eq(&lines);
}

/// A cursor of groups is short, however long the texts are, and skips none of those that are equal for long.
#[test]
fn a_cursor_of_groups_is_short() {
    let mut rows = Rows::default();
    for number in 1..=20 {
        let name = format!("{}{number}", "größe".repeat(4_000));
        model::row(number, &name, None, None).put(&mut rows);
    }
    let group = parse_operands("name,state,param.lr,host").unwrap();
    let groups = Groups { rows: &rows, group: &group, columns: &[], sort: vec![], now: NOW, order: 7 };
    let (mut after, mut seen) = (None, 0);
    loop {
        let top = groups.top(&[], after.as_ref(), 3).unwrap();
        seen += top.groups.len();
        let Some(next) = top.next else { break };
        let text = next.write();
        assert!(text.len() < 2_000, "{} bytes", text.len());
        after = Some(Cursor::read(&text).unwrap());
    }
    assert_eq!(seen, 20);
}

#[test]
fn groups_and_their_columns_are_bounded_together() {
    let mut rows = Rows::default();
    for number in 1..=1_001 {
        model::row(number, &format!("job {number}"), None, None).put(&mut rows);
    }
    let (group, columns) = (parse_operands("name").unwrap(), vec![Operand::Field(Field::Name); 200]);
    for (columns, most) in [(&columns[..], Some(1_000)), (&columns[..100], None)] {
        let groups = Groups { rows: &rows, group: &group, columns, sort: vec![], now: NOW, order: 7 };
        let refused = groups.top(&[], None, 1).err().map(|group::TooMany(most)| most);
        assert_eq!(refused, most);
    }
}

#[test]
fn columns_are_listed_as_they_are_written() {
    let mut rows = Rows::default();
    let mut row = model::row(1, "", Some(0.1), Some(1.0));
    for name in ["last", "last.last", "a.last", "min", "größe 1"] {
        row.metrics.insert(name.into(), row.metrics["loss"]);
        row.job.properties.insert(name.into(), "x".into());
    }
    row.put(&mut rows);
    let (columns, total) = answer::discover(&rows, Shown::Kept, None, "", None, 100);
    assert_eq!((columns.len(), total), (13, 13));
    for column in columns {
        let wanted = match column.kind {
            ColumnKind::Metric => Operand::Metric { name: column.name, stat: Stat::Last },
            ColumnKind::Param => Operand::Param(column.name),
            ColumnKind::Property => Operand::Property(column.name),
        };
        assert_eq!(parse_operands(&column.column), Ok(vec![wanted]), "{}", column.column);
    }
}
