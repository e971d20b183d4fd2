//! What reads as a filter and what does not; what jobs a filter finds is tested beside the table.

use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;

fn show(expr: &Expr) -> String {
    let join = |parts: &[Expr], word: &str| {
        let shown: Vec<String> = parts.iter().map(show).collect();
        format!("({})", shown.join(word))
    };
    match expr {
        Expr::And(parts) => join(parts, " and "),
        Expr::Or(parts) => join(parts, " or "),
        Expr::Not(inner) => format!("not {}", show(inner)),
        Expr::Test(Test { operand, negated, check, .. }) => {
            let text = |value: &Value| {
                if value.quoted { quote(&value.text) } else { value.text.clone() }
            };
            let not = if *negated { "not " } else { "" };
            match check {
                Check::Compare(compare, value) => format!("{operand} {compare:?} {}", text(value)),
                Check::In(values) => {
                    let values: Vec<String> = values.iter().map(text).collect();
                    format!("{operand} {not}in [{}]", values.join(" "))
                }
                Check::Matches(Pattern { kind, value, .. }) => {
                    let word = match kind {
                        PatternKind::Like => "like",
                        PatternKind::Ilike => "ilike",
                        PatternKind::Regex => "~",
                    };
                    format!("{operand} {not}{word} {}", text(value))
                }
                Check::Null => format!("{operand} is {not}null"),
                Check::Nan => format!("{operand} is {not}nan"),
            }
        }
    }
}

fn check(filter: &str, expected: Expect) {
    expected
        .assert_eq(&parse_filter(filter).map_or_else(|error| format!("error: {error}"), |expr| show(&expr)));
}

#[test]
fn conditions_and_how_they_bind() {
    check("", expect!["()"]);
    check("metric.loss < 0.1", expect!["metric.loss.last Less 0.1"]);
    check(
        r#"metric.loss < 0.1 and param.lr >= 0.01 and (tag = "benchmark" or state in (running, queued)) and not name ~ "debug.*" and created > -7d"#,
        expect![[
            r#"(metric.loss.last Less 0.1 and param.lr GreaterOrEqual 0.01 and (tag Equal "benchmark" or state in [running queued]) and not name ~ "debug.*" and created Greater -7d)"#
        ]],
    );
    check(
        "a.b = 1",
        expect![[
            r#"error: column 1: no column "a"; expected metric.NAME, param.NAME, property.NAME, or one of id, uid, project, name, description, state, reason, host, tag, created, started, ended, duration, attempt, exit_code, dropped_points"#
        ]],
    );
    check(
        "name=a or name=b and not name=c or NOT (name=d)",
        expect!["(name Equal a or (name Equal b and not name Equal c) or not name Equal d)"],
    );
    check(
        "exists(param.lr) and metric.x is not null and param.x = null",
        expect!["(param.lr is not null and metric.x.last is not null and param.x is null)"],
    );
    check(
        "metric.x is nan or metric.x.min is not nan",
        expect!["(metric.x.last is nan or metric.x.min is not nan)"],
    );
    check(
        "name not in (a, 'b c') and host !~ 'x' and name not like '%a_'",
        expect![[r#"(name not in [a "b c"] and host not ~ "x" and name not like "%a_")"#]],
    );
}

#[test]
fn names_of_metrics() {
    check("metric.train/loss.min < 1", expect!["metric.train/loss.min Less 1"]);
    check(r#"metric."loss.min" < 1"#, expect![[r#"metric."loss.min".last Less 1"#]]);
    check(r#"metric."loss.min".last < 1"#, expect![[r#"metric."loss.min".last Less 1"#]]);
    check("metric.val.loss<1", expect![[r#"metric."val.loss".last Less 1"#]]);
    check(r#"metric.`a "b"`.MEAN < 1"#, expect![[r#"metric."a ""b""".mean Less 1"#]]);
    check("metric.größe.count > 3", expect!["metric.größe.count Greater 3"]);
}

/// The examples of MLflow's page "Search Runs", and what its syntax allows beside them.
#[test]
fn mlflow_spellings() {
    check("metrics.accuracy > 0.92", expect!["metric.accuracy.last Greater 0.92"]);
    check(
        r#"params.model = "LogisticRegression" and params.lambda = "0.001" and metrics.error <= 0.05"#,
        expect![[
            r#"(param.model Equal "LogisticRegression" and param.lambda Equal "0.001" and metric.error.last LessOrEqual 0.05)"#
        ]],
    );
    check(r#"attributes.status = "FAILED""#, expect![[r#"state Equal "FAILED""#]]);
    check(r#"params."model-type" = 'x'"#, expect![[r#"param.model-type Equal "x""#]]);
    check("metrics.`error rate` <= 0.5", expect![[r#"metric."error rate".last LessOrEqual 0.5"#]]);
    check(r#"tags.mlflow.parentRunId = "ce457""#, expect![[r#"property.mlflow.parentRunId Equal "ce457""#]]);
    check(
        r#"tags."mlflow.parentRunId" ILIKE "%n"#,
        expect![[r#"error: column 33: expected a closing " for the quote here"#]],
    );
    check("tags.environment ILIKE '%Book'", expect![[r#"property.environment ilike "%Book""#]]);
    check(
        "params.model LIKE 'GPT%' AND metrics.f1_score >= 0.8",
        expect![[r#"(param.model like "GPT%" and metric.f1_score.last GreaterOrEqual 0.8)"#]],
    );
    check("attributes.run_id IN ('a1b2', 'c3d4')", expect![[r#"id in ["a1b2" "c3d4"]"#]]);
    check("attributes.start_time >= 1664067852747", expect!["started GreaterOrEqual 1664067852747"]);
    check("attribute.run_name != 'x'", expect![[r#"name Differs "x""#]]);
    check(
        "tags.missing IS NULL and params.p IS NOT NULL",
        expect!["(property.missing is null and param.p is not null)"],
    );
    check(
        "datasets.name = 'custom'",
        expect!["error: column 1: jobs have no datasets; expected a property or a param"],
    );
}

#[test]
fn errors_point_at_the_character() {
    check(
        "metric.loss <",
        expect!["error: column 14: expected a value: a number, a word, or a text in quotes; the text ends"],
    );
    check(
        "metric.loss 0.1",
        expect![[r#"error: column 13: expected =, !=, <, <=, >, >=, ~, in, like, ilike or is; found "0.1""#]],
    );
    check(
        "größe = 1",
        expect![[
            r#"error: column 1: no column "größe"; expected metric.NAME, param.NAME, property.NAME, or one of id, uid, project, name, description, state, reason, host, tag, created, started, ended, duration, attempt, exit_code, dropped_points"#
        ]],
    );
    check(
        "name = 'ü' nd name = b",
        expect![[r#"error: column 12: expected and, or, or the end; found "nd""#]],
    );
    check(
        "(name = a",
        expect!["error: column 10: expected and, or, or a closing parenthesis; the text ends"],
    );
    check("name = a)", expect!["error: column 9: expected and, or, or the end; found ')'"]);
    check("name in a", expect![[r#"error: column 9: expected a list in parentheses; found "a""#]]);
    check("name not = a", expect!["error: column 10: expected in, like, ilike or ~ after not; found '='"]);
    check(
        "metric.loss.quantile(0.9) < 1",
        expect![
            "error: column 21: functions of a metric, such as quantile(0.9), are not there yet; expected .last, .min, .max, .mean or .count"
        ],
    );
    check(
        r#"metric."a".median < 1"#,
        expect![[r#"error: column 12: found "median"; expected last, min, max, mean, count"#]],
    );
    check(
        "metric.loss = nan",
        expect!["error: column 15: NaN equals nothing; expected `is nan` or `is not nan`"],
    );
    check(
        "metric. < 1",
        expect!["error: column 9: expected the name of a metric, in quotes if it has blanks; found '<'"],
    );
    check(
        "metric.x < null",
        expect!["error: column 12: null can only be asked with =, != or is; expected a value"],
    );
    check(&"(".repeat(100), expect!["error: column 66: expected at most 64 conditions inside each other"]);
}

/// What one filter may take is bounded, by how many conditions and patterns it has and how large these are.
#[test]
fn filters_are_bounded() {
    let many = |test: &str, count: usize| vec![test; count].join(" or ");
    let is_read = |filter: &str| parse_filter(filter).map(drop);
    assert_eq!(is_read(&many("name = a", 128)), Ok(()));
    check(
        &many("name = a", 129),
        expect![
            "error: column 1537: expected at most 128 conditions; a list of values goes into one `in (…)`"
        ],
    );
    assert_eq!(is_read(&many("name ~ a", 32)), Ok(()));
    check(
        &many("name ilike a", 33),
        expect!["error: column 524: expected at most 32 of like, ilike and ~ in one filter"],
    );
    let large = r"name ~ '\w{20}'";
    assert_eq!(is_read(large), Ok(()));
    let error = is_read(&many(large, 32)).unwrap_err();
    assert_eq!(error.wanted, "expected a regular expression; with those before it, it is too large");
}

#[test]
fn lists_of_columns() {
    let sort = parse_sort("-metric.loss.min, created,-param.\"a,b\"").unwrap();
    let shown: Vec<String> = sort.iter().map(|(operand, down)| format!("{operand} {down}")).collect();
    assert_eq!(shown, ["metric.loss.min true", "created false", "param.\"a,b\" true"]);
    assert_eq!(parse_operands("name name").unwrap_err().column, 6);
    assert_eq!(parse_operands("").unwrap_err().column, 1);
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused_within_it(text in "\\PC{0,40}") {
        if let Err(error) = parse_filter(&text) {
            prop_assert!((1..=text.chars().count() + 1).contains(&error.column));
        }
    }

    #[test]
    fn what_is_written_reads_back(name in "\\PC{1,12}") {
        for operand in [
            Operand::Metric { name: name.clone(), stat: Stat::Mean },
            Operand::Param(name.clone()),
            Operand::Property(name.clone()),
        ] {
            prop_assert_eq!(parse_operands(&operand.to_string()).unwrap(), vec![operand]);
        }
    }
}
