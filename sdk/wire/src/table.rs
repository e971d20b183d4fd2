//! The table of jobs: rows of asked columns, groups of rows, and which columns there are.
//!
//! Columns are written as in filters: `metric.loss.min`, `param.lr`, `property.branch`, `state`. The language is
//! described in docs/filter.md.

use serde::{Deserialize, Serialize};

use crate::id::{JobId, JobUid};
use crate::job::{Job, Page};
use crate::name::ProjectKey;
use crate::number::Number;

/// What `GET /jobs` answers: whole jobs; rows, when `columns` asks for some; groups, when `group` asks for them.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(untagged)]
pub enum JobsAnswer {
    /// Neither `columns` nor `group` was given.
    Jobs(Page<Job>),
    /// With `columns`.
    Rows(RowPage),
    /// With `group`.
    Groups(GroupPage),
}

/// One page of rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "RowPageAsSent")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RowPage {
    /// The asked columns, in full: `metric.loss` is `metric.loss.last`.
    pub columns: Vec<String>,
    /// The rows in order.
    pub items: Vec<JobRow>,
    /// Cursor of the page after it; absent on the last.
    #[serde(default)]
    pub next: Option<String>,
    /// How many rows there are on all pages.
    pub total: u64,
}

/// One job's values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct JobRow {
    /// `TRIG-12`
    pub id: JobId,
    /// The client's id.
    pub uid: JobUid,
    /// One for each asked column, in its order; null where the job has none.
    pub values: Vec<Option<TableValue>>,
}

/// A value of a column. Times and lengths of time are microseconds.
///
/// JSON has no NaN and no infinities: as numbers they travel as the texts `"NaN"`, `"Infinity"`, `"-Infinity"`. A text is
/// read as a text, so that a job may be named so; the values of metrics, which are numbers, are put right by the page
/// that names its columns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "Plain")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(untagged)]
pub enum TableValue {
    /// A boolean param.
    Boolean(bool),
    /// Counts, times, integer params.
    Integer(i64),
    /// Metrics, double params.
    Number(Number),
    /// Everything else.
    Text(String),
    /// The tags of a job.
    Tags(Vec<String>),
}

/// One page of groups.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "GroupPageAsSent")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct GroupPage {
    /// The columns that rows are grouped by.
    pub group: Vec<String>,
    /// The columns that are summed up.
    pub columns: Vec<String>,
    /// The groups in order.
    pub items: Vec<JobGroup>,
    /// Cursor of the page after it; absent on the last.
    #[serde(default)]
    pub next: Option<String>,
    /// How many groups there are on all pages.
    pub total: u64,
}

/// Jobs that have the same values in the columns of `group`. A job with several tags is in the group of each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct JobGroup {
    /// These values, in the order of `group`; null is "has none".
    pub values: Vec<Option<TableValue>>,
    /// A filter that finds the jobs of this group; to be put behind another one with `and`.
    pub filter: String,
    /// How many jobs are in it.
    pub jobs: u64,
    /// One for each of `columns`.
    pub columns: Vec<GroupColumn>,
}

/// What a column holds within a group.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct GroupColumn {
    /// Jobs that have a value.
    pub count: u64,
    /// How many of these are NaN.
    #[serde(default)]
    pub nan_count: u64,
    /// The smallest number that is not NaN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<Number>,
    /// The job that has it; the newest of several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_job: Option<JobId>,
    /// The largest number that is not NaN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<Number>,
    /// The job that has it; the newest of several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_job: Option<JobId>,
    /// Mean of the finite numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean: Option<Number>,
    /// The value of the newest job that has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<TableValue>,
    /// The newest job that has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_job: Option<JobId>,
}

/// `GET /jobs/columns?…`: which columns of metrics, params and properties there are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::IntoParams))]
#[cfg_attr(feature = "openapi", into_params(parameter_in = Query))]
#[serde(deny_unknown_fields)]
pub struct ColumnsQuery {
    /// Only columns that jobs of this project have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<ProjectKey>,
    /// Only columns whose written form (`metric.lo`) or name (`lo`) begins so, ignoring case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// `true`: columns that deleted jobs have, which are left out otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted: Option<bool>,
    /// 1 to 1,000; 100 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// A column that some job has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ColumnInfo {
    /// As it is written in filters, quoted where it must be; a metric without its suffix.
    pub column: String,
    /// What it is of.
    pub kind: ColumnKind,
    /// The bare name.
    pub name: String,
    /// How many jobs have it.
    pub jobs: u64,
}

/// What a column is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ColumnKind {
    /// A numeric channel; the suffixes `.last`, `.min`, `.max`, `.mean` and `.count` are columns of it.
    Metric,
    /// A param.
    Param,
    /// A property.
    Property,
}

/// A value as JSON tells kinds apart.
#[derive(Deserialize)]
#[serde(untagged)]
enum Plain {
    Boolean(bool),
    Integer(i64),
    Number(f64),
    Text(String),
    Tags(Vec<String>),
}

impl From<Plain> for TableValue {
    fn from(plain: Plain) -> TableValue {
        match plain {
            Plain::Boolean(value) => TableValue::Boolean(value),
            Plain::Integer(value) => TableValue::Integer(value),
            Plain::Number(value) => TableValue::Number(Number(value)),
            Plain::Text(value) => TableValue::Text(value),
            Plain::Tags(value) => TableValue::Tags(value),
        }
    }
}

/// Makes the numbers of metrics numbers that had to travel as texts.
fn settle(column: &str, value: &mut Option<TableValue>) {
    if let (true, Some(TableValue::Text(text))) = (column.starts_with("metric."), &*value)
        && let Ok(number) = serde_json::from_value(serde_json::Value::from(text.as_str()))
    {
        *value = Some(TableValue::Number(number));
    }
}

impl From<RowPageAsSent> for RowPage {
    fn from(sent: RowPageAsSent) -> RowPage {
        let RowPageAsSent { columns, mut items, next, total } = sent;
        for row in &mut items {
            columns.iter().zip(&mut row.values).for_each(|(column, value)| settle(column, value));
        }
        RowPage { columns, items, next, total }
    }
}

impl From<GroupPageAsSent> for GroupPage {
    fn from(sent: GroupPageAsSent) -> GroupPage {
        let GroupPageAsSent { group, columns, mut items, next, total } = sent;
        for item in &mut items {
            group.iter().zip(&mut item.values).for_each(|(column, value)| settle(column, value));
            columns.iter().zip(&mut item.columns).for_each(|(column, sum)| settle(column, &mut sum.last));
        }
        GroupPage { group, columns, items, next, total }
    }
}

#[derive(Deserialize)]
struct RowPageAsSent {
    columns: Vec<String>,
    items: Vec<JobRow>,
    #[serde(default)]
    next: Option<String>,
    total: u64,
}

#[derive(Deserialize)]
struct GroupPageAsSent {
    group: Vec<String>,
    columns: Vec<String>,
    items: Vec<JobGroup>,
    #[serde(default)]
    next: Option<String>,
    total: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_their_kind_in_json() {
        let values = [
            Some(TableValue::Boolean(true)),
            Some(TableValue::Integer(-3)),
            Some(TableValue::Number(Number(0.5))),
            Some(TableValue::Text("0.5".into())),
            Some(TableValue::Tags(vec!["a".into()])),
            None,
        ];
        let json = serde_json::to_string(&values).unwrap();
        assert_eq!(json, r#"[true,-3,0.5,"0.5",["a"],null]"#);
        assert_eq!(serde_json::from_str::<[Option<TableValue>; 6]>(&json).unwrap(), values);
        let nan = serde_json::to_string(&TableValue::Number(Number(f64::NAN))).unwrap();
        assert_eq!(nan, r#""NaN""#);
    }

    #[test]
    fn texts_are_texts_and_metrics_are_numbers() {
        let row = r#"{"id": "A-1", "uid": "01010101010101010101010101010101", "values": ["NaN", "-Infinity", "Infinity", "x"]}"#;
        let page = format!(
            r#"{{"columns": ["name", "metric.loss.last", "param.name", "metric.a.min"], "items": [{row}], "next": null, "total": 1}}"#
        );
        let page: RowPage = serde_json::from_str(&page).unwrap();
        let text = |text: &str| Some(TableValue::Text(text.into()));
        let low = Some(TableValue::Number(Number(f64::NEG_INFINITY)));
        assert_eq!(page.items[0].values, [text("NaN"), low, text("Infinity"), text("x")]);
        let page = r#"{"group": ["name", "metric.n.max"], "columns": ["name", "metric.loss.last"], "total": 1, "next": "n",
            "items": [{"values": ["Infinity", "Infinity"], "filter": "", "jobs": 1,
                       "columns": [{"count": 1, "last": "NaN"}, {"count": 1, "last": "Infinity"}]}]}"#;
        let page: GroupPage = serde_json::from_str(page).unwrap();
        let high = Some(TableValue::Number(Number(f64::INFINITY)));
        assert_eq!(page.items[0].values, [text("Infinity"), high.clone()]);
        assert_eq!((&page.items[0].columns[0].last, &page.items[0].columns[1].last), (&text("NaN"), &high));
    }
}
