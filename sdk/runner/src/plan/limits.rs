//! How much a job may hold: what a server takes (`server/engine/src/jobs/checks.rs`), checked before anything runs.
//!
//! Online the server would say the same a moment later; a job that runs without one would be refused for ever.

use std::collections::BTreeMap;

use neptune_wire::ParamValue;
use neptune_wire::job::Param;
use neptune_wire::name::NAME_BYTES;

use super::PlanError;
use crate::config::Config;

/// Longest description and longest text of a property, in bytes.
const TEXT_BYTES: usize = 16 << 10;
/// Properties of one job, and all their keys and texts together.
const PROPERTIES: usize = 500;
const PROPERTIES_BYTES: usize = 256 << 10;
/// Tags of one job.
const TAGS: usize = 256;
/// Params, command and environment together.
const SPEC_BYTES: usize = 512 << 10;
/// What the metric, the snapshot and the record around them take at most.
const SPEC_REST_BYTES: usize = NAME_BYTES + 64;
/// The length of a text, on disk; nearly always less.
const LENGTH_BYTES: usize = 3;
/// A number, on disk.
const NUMBER_BYTES: usize = 10;

/// Checks what the levels of settings say.
pub(super) fn check_config(config: &Config) -> Result<(), PlanError> {
    check_text("name", config.name.as_deref(), NAME_BYTES)?;
    check_text("project", config.project.as_deref(), NAME_BYTES)?;
    check_text("description", config.description.as_deref(), TEXT_BYTES)?;
    check_count("tags", config.tags.len(), TAGS)?;
    check_count("properties", config.properties.len(), PROPERTIES)?;
    for (key, text) in &config.properties {
        let shown: String = key.chars().take(80).collect();
        if key.is_empty() || key.len() > NAME_BYTES {
            let text = format!("the key {shown:?} must be 1 to {NAME_BYTES} bytes long");
            return Err(PlanError::TooLong { key: "properties".into(), text });
        }
        check_text(&format!("properties.{shown}"), Some(text), TEXT_BYTES)?;
    }
    let bytes = config.properties.iter().map(|(key, text)| key.len() + text.len()).sum();
    check_bytes("properties", "together", bytes, PROPERTIES_BYTES)
}

/// Checks the length of one text.
pub(super) fn check_text(key: &str, text: Option<&str>, limit: usize) -> Result<(), PlanError> {
    check_bytes(key, "long", text.map_or(0, str::len), limit)
}

/// Checks what never changes of a job, and names its largest part.
pub(super) fn check_spec(
    params: &[Param],
    command: &[String],
    environment: &BTreeMap<String, String>,
) -> Result<(), PlanError> {
    let command_bytes: usize = command.iter().map(|argument| text_bytes(argument)).sum();
    let facts = environment.iter().map(|(key, fact)| text_bytes(key) + text_bytes(fact));
    let bytes = params.iter().map(param_bytes).sum::<usize>() + command_bytes + facts.sum::<usize>();
    if bytes + SPEC_REST_BYTES <= SPEC_BYTES {
        return Ok(());
    }
    let largest = params.iter().max_by_key(|param| param_bytes(param));
    let largest = largest.map(|param| (format!("parameter {}", param.name), param_bytes(param)));
    let (what, size) = largest
        .filter(|(_, size)| *size > command_bytes)
        .unwrap_or_else(|| ("the command line".into(), command_bytes));
    let text = format!(
        "{bytes} bytes together with the command line and the environment, at most {SPEC_BYTES} are taken; the \
         largest is {what} with {size}"
    );
    Err(PlanError::TooLong { key: "parameters".into(), text })
}

fn check_bytes(key: &str, how: &str, bytes: usize, limit: usize) -> Result<(), PlanError> {
    if bytes <= limit {
        return Ok(());
    }
    let text = format!("{bytes} bytes {how}, at most {limit} are taken");
    Err(PlanError::TooLong { key: key.into(), text })
}

fn check_count(key: &str, count: usize, limit: usize) -> Result<(), PlanError> {
    if count <= limit {
        return Ok(());
    }
    Err(PlanError::TooLong { key: key.into(), text: format!("{count} of them, at most {limit} are taken") })
}

fn param_bytes(param: &Param) -> usize {
    let value = |value: &ParamValue| match value {
        ParamValue::String(text) => 1 + text_bytes(text),
        _ => 1 + NUMBER_BYTES,
    };
    // `required` and whether there is a default take a byte each.
    let rest = 2 + param.default.as_ref().map_or(0, value);
    text_bytes(param.name.as_str()) + value(&param.value) + text_bytes(&param.description) + rest
}

fn text_bytes(text: &str) -> usize {
    LENGTH_BYTES + text.len()
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(checked: Result<(), PlanError>, expect: Expect) {
        expect.assert_eq(&checked.map_or_else(|error| error.to_string(), |()| "taken".into()));
    }

    fn properties(properties: impl IntoIterator<Item = (String, String)>) -> Result<(), PlanError> {
        check_config(&Config { properties: properties.into_iter().collect(), ..Config::default() })
    }

    #[test]
    fn properties_have_limits() {
        let one = |key: &str, bytes| properties([(key.to_string(), "x".repeat(bytes))]);
        check(one("a", 16 << 10), expect!["taken"]);
        check(one("a", (16 << 10) + 1), expect!["properties.a: 16385 bytes long, at most 16384 are taken"]);
        check(one("", 1), expect![[r#"properties: the key "" must be 1 to 256 bytes long"#]]);
        assert!(one(&"k".repeat(256), 1).is_ok() && one(&"k".repeat(257), 1).is_err());
        let many = |count, bytes| properties((0..count).map(|n| (format!("{n:03}"), "x".repeat(bytes))));
        check(many(500, 0), expect!["taken"]);
        check(many(501, 0), expect!["properties: 501 of them, at most 500 are taken"]);
        check(many(17, 16 << 10), expect!["properties: 278579 bytes together, at most 262144 are taken"]);
    }

    #[test]
    fn what_never_changes_of_a_job_has_a_limit_together() {
        let param = |bytes| Param {
            name: "notes".parse().unwrap(),
            value: ParamValue::String("x".repeat(bytes)),
            description: String::new(),
            required: false,
            default: None,
        };
        let command = ["python3".to_string(), "y".repeat(100 << 10)];
        check(check_spec(&[param(400 << 10)], &command, &BTreeMap::new()), expect!["taken"]);
        check(
            check_spec(&[param(412 << 10)], &command, &BTreeMap::new()),
            expect![
                "parameters: 524318 bytes together with the command line and the environment, at most 524288 are taken; the largest is parameter notes with 421905"
            ],
        );
        check(
            check_spec(&[param(0)], &["y".repeat(600 << 10)], &BTreeMap::new()),
            expect![
                "parameters: 614420 bytes together with the command line and the environment, at most 524288 are taken; the largest is the command line with 614403"
            ],
        );
    }
}
