//! A request for jobs, rows, groups or columns: read, checked, and answered from the table.

use neptune_wire::job::{JobsQuery, Page};
use neptune_wire::table::{ColumnInfo, ColumnKind, ColumnsQuery, GroupPage, JobsAnswer, RowPage};
use neptune_wire::{Job, JobState, JobUid, Micros, ProjectKey, Tag};

use super::answer::{self, Asked};
use super::filter::{
    Check, Compare, Expr, Field, FilterError, Operand, Test, Value, parse_filter, parse_operands, parse_sort,
};
use super::group::{self, GroupSort, Groups};
use super::order::{Cursor, Order, order_number};
use super::plan::Plan;
use super::rows::{Rows, Shown};
use crate::registry::Registry;
use crate::{Engine, Grant, Refused};

/// Items of a page.
const LIMIT: u32 = 100;
const LIMIT_MAX: u32 = 1_000;
/// Keys of an order, and columns of an answer.
const KEYS: usize = 8;
const COLUMNS: usize = 200;
/// Words of a search.
const WORDS: usize = 32;

/// A checked request.
pub(crate) struct Question {
    shown: Shown,
    project: Option<ProjectKey>,
    words: Vec<String>,
    filter: Expr,
    sort: Vec<(Operand, bool)>,
    columns: Option<Vec<Operand>>,
    group: Vec<Operand>,
    group_sort: Vec<(GroupSort, bool)>,
    limit: usize,
    after: Option<Cursor>,
    now: Micros,
    /// The number of the order, for cursors.
    order: u64,
}

impl Question {
    /// Reads a request.
    ///
    /// # Errors
    ///
    /// [`Refused::Field`], [`Refused::Text`] naming the parameter.
    pub(crate) fn read(query: &JobsQuery, now: Micros) -> Result<Question, Refused> {
        let group = match &query.group {
            Some(group) => parse_operands(group).map_err(|error| refused("group", error))?,
            None => vec![],
        };
        let columns = query.columns.as_deref().map(read_columns).transpose()?;
        if group.len() > group::KEYS {
            return Err(Refused::field("group", format!("must be at most {} columns", group::KEYS)));
        }
        let twice = group.iter().enumerate().find(|(at, operand)| group[..*at].contains(operand));
        if let Some((_, operand)) = twice {
            return Err(Refused::field("group", format!("{operand} is named twice; name each column once")));
        }
        if let Some(uid) = group.iter().find(|operand| !answer::is_ordered(operand)) {
            return Err(Refused::field(
                "group",
                format!("{uid} is another for every job; group by anything else"),
            ));
        }
        let text = query.sort.as_deref();
        let (sort, group_sort) = if group.is_empty() {
            (read_sort(text.unwrap_or("-created"))?, vec![])
        } else {
            (vec![], read_group_sort(text, &group, columns.as_deref().unwrap_or_default())?)
        };
        let limit = read_limit(query.limit)?;
        let order = order_number(&format!("{:?}", (&sort, &group_sort, &group)));
        let after = query.cursor.as_deref().map(|cursor| read_cursor(cursor, order)).transpose()?;
        let now = after.as_ref().map_or(now, |cursor| cursor.now);
        let words: Vec<String> =
            query.search.iter().flat_map(|text| text.split_whitespace()).map(str::to_lowercase).collect();
        if words.len() > WORDS {
            return Err(Refused::field("search", format!("must be at most {WORDS} words")));
        }
        let filter = Expr::And(vec![read_filter(query.filter.as_deref())?, read_lists(query)?]);
        let (shown, project) = (Shown::from_asked(query.deleted), query.project.clone());
        Ok(Question {
            shown,
            project,
            words,
            filter,
            sort,
            columns,
            group,
            group_sort,
            limit,
            after,
            now,
            order,
        })
    }

    /// Whether anything asked for is a metric.
    fn is_of_metrics(&self) -> bool {
        let sorted = self.sort.iter().map(|(operand, _)| operand);
        let mut asked = sorted.chain(self.columns.iter().flatten()).chain(&self.group);
        asked.any(is_metric) || tests_metric(&self.filter)
    }

    fn answer(&self, rows: &Rows, registry: &Registry) -> Result<JobsAnswer, Refused> {
        let mut plans = vec![Plan::Shown { rows, shown: self.shown }];
        plans.extend(self.project.as_ref().map(|key| Plan::project(rows, key.as_str())));
        plans.push(Plan::new(rows, &self.filter, self.now).map_err(|error| refused("filter", error))?);
        plans.extend(self.words.iter().map(|word| Plan::word(rows, word)));
        let plans: Vec<&Plan<'_>> = plans.iter().collect();
        if !self.group.is_empty() {
            return self.answer_groups(rows, &plans);
        }
        let order = Order::new(rows, &self.sort, self.now);
        let top = order.top(&plans, self.after.as_ref(), self.limit);
        let last = top.rows.last().filter(|_| top.more);
        let next = last.map(|row| order.cursor(*row, self.now, self.order).write());
        let total = top.total;
        let Some(columns) = &self.columns else {
            let uids = top.rows.iter().map(|row| rows.uid(*row));
            return Ok(JobsAnswer::Jobs(Page { items: jobs(registry, uids), next, total }));
        };
        let asked = Asked::new(rows, columns, self.now);
        let items = top.rows.iter().filter_map(|row| asked.row(*row)).collect();
        Ok(JobsAnswer::Rows(RowPage { columns: names(columns), items, next, total }))
    }

    fn answer_groups(&self, rows: &Rows, plans: &[&Plan<'_>]) -> Result<JobsAnswer, Refused> {
        let columns = self.columns.as_deref().unwrap_or_default();
        let groups = Groups {
            rows,
            group: &self.group,
            columns,
            sort: self.group_sort.clone(),
            now: self.now,
            order: self.order,
        };
        let top = groups.top(plans, self.after.as_ref(), self.limit);
        let top = top.map_err(|group::TooMany(most)| {
            let (with, fewer) = match columns.len() {
                count if most < group::GROUPS => (format!(" with {count} columns"), ", ask for fewer columns"),
                _ => (String::new(), ""),
            };
            let wanted = format!(
                "must make at most {most} groups{with}; group by something with fewer values{fewer}, or filter"
            );
            Refused::field("group", wanted)
        })?;
        Ok(JobsAnswer::Groups(GroupPage {
            group: names(&self.group),
            columns: names(columns),
            items: top.groups,
            next: top.next.map(|cursor| cursor.write()),
            total: top.total,
        }))
    }
}

fn jobs(registry: &Registry, uids: impl Iterator<Item = JobUid>) -> Vec<Job> {
    uids.filter_map(|uid| registry.find_uid(&uid)).map(|cell| Job::clone(&cell.job())).collect()
}

fn names(operands: &[Operand]) -> Vec<String> {
    operands.iter().map(Operand::to_string).collect()
}

pub(crate) fn refused(field: &'static str, error: FilterError) -> Refused {
    Refused::Text { field, column: error.column as u32, wanted: error.wanted }
}

pub(crate) fn read_filter(text: Option<&str>) -> Result<Expr, Refused> {
    parse_filter(text.unwrap_or_default()).map_err(|error| refused("filter", error))
}

pub(crate) fn read_columns(text: &str) -> Result<Vec<Operand>, Refused> {
    let columns = parse_operands(text).map_err(|error| refused("columns", error))?;
    if columns.len() > COLUMNS {
        return Err(Refused::field("columns", format!("must be at most {COLUMNS} columns")));
    }
    Ok(columns)
}

fn is_metric(operand: &Operand) -> bool {
    matches!(operand, Operand::Metric { .. })
}

pub(crate) fn tests_metric(expr: &Expr) -> bool {
    match expr {
        Expr::And(parts) | Expr::Or(parts) => parts.iter().any(tests_metric),
        Expr::Not(inner) => tests_metric(inner),
        Expr::Test(test) => is_metric(&test.operand),
    }
}

pub(crate) fn read_limit(limit: Option<u32>) -> Result<usize, Refused> {
    match limit.unwrap_or(LIMIT) {
        limit @ 1..=LIMIT_MAX => Ok(limit as usize),
        _ => Err(Refused::field("limit", "must be 1 to 1000")),
    }
}

fn read_sort(text: &str) -> Result<Vec<(Operand, bool)>, Refused> {
    let sort = parse_sort(text).map_err(|error| refused("sort", error))?;
    if sort.len() > KEYS {
        return Err(Refused::field("sort", format!("must be at most {KEYS} columns")));
    }
    if let Some((uid, _)) = sort.iter().find(|(operand, _)| !answer::is_ordered(operand)) {
        return Err(Refused::field("sort", format!("{uid} has no order; sort by anything else")));
    }
    Ok(sort)
}

fn read_group_sort(
    text: Option<&str>,
    group: &[Operand],
    columns: &[Operand],
) -> Result<Vec<(GroupSort, bool)>, Refused> {
    let Some(text) = text else { return Ok(vec![]) };
    if let "jobs" | "-jobs" = text.trim() {
        return Ok(vec![(GroupSort::Jobs, text.trim().starts_with('-'))]);
    }
    let sort = read_sort(text)?;
    let find = |(operand, falls): &(Operand, bool)| {
        let at = |among: &[Operand]| among.iter().position(|other| other == operand);
        let found = at(group).map(GroupSort::Key).or_else(|| at(columns).map(GroupSort::Column));
        found.map(|found| (found, *falls)).ok_or_else(|| {
            let wanted = format!(
                "{operand} is neither in group nor in columns; groups are also ordered by jobs or -jobs"
            );
            Refused::field("sort", wanted)
        })
    };
    sort.iter().map(find).collect()
}

fn read_cursor(text: &str, order: u64) -> Result<Cursor, Refused> {
    let cursor = Cursor::read(text).filter(|cursor| cursor.order == order);
    cursor.ok_or_else(|| {
        Refused::field("cursor", "must be `next` of the page before, with the same sort and group")
    })
}

/// The parameters `tags` and `states` as conditions.
fn read_lists(query: &JobsQuery) -> Result<Expr, Refused> {
    let list = |text: &Option<String>| -> Vec<String> {
        let parts = text.iter().flat_map(|text| text.split(','));
        parts.map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
    };
    let value = |text: String| Value { at: 1, text, quoted: true };
    let test =
        |field, check| Expr::Test(Test { operand: Operand::Field(field), at: 1, negated: false, check });
    let mut all = Vec::new();
    for tag in list(&query.tags) {
        Tag::new(&tag).map_err(|error| Refused::field("tags", error.to_string()))?;
        all.push(test(Field::Tag, Check::Compare(Compare::Equal, value(tag))));
    }
    let states = list(&query.states);
    for name in &states {
        if !JobState::ALL.iter().any(|state| state.as_str() == name) {
            let known = JobState::ALL.map(JobState::as_str).join(", ");
            return Err(Refused::field("states", format!("{name:?} is no state; states are {known}")));
        }
    }
    if !states.is_empty() {
        all.push(test(Field::State, Check::In(states.into_iter().map(value).collect())));
    }
    Ok(Expr::And(all))
}

impl Engine {
    /// One page of jobs, rows or groups; see [`JobsAnswer`].
    ///
    /// Cost: a few nanoseconds a job for each condition and key.
    ///
    /// # Errors
    ///
    /// [`Refused::Text`] for a filter, sort, column or group that cannot be read, [`Refused::Field`] for a tag, state,
    /// limit or cursor that is none, [`Refused::UnknownProject`].
    pub async fn list_jobs(
        &self,
        grant: &Grant,
        query: &JobsQuery,
        now: Micros,
    ) -> Result<JobsAnswer, Refused> {
        grant.check_everything("listing jobs")?;
        let question = Question::read(query, now)?;
        self.check_project(query.project.as_ref())?;
        if question.is_of_metrics() {
            self.core.table_filled().await?;
        }
        // Milliseconds of work over many jobs are not for the threads that serve connections.
        self.ask(move |rows, registry| question.answer(rows, registry)).await
    }

    /// One page of the columns that metrics, params and properties make.
    ///
    /// # Errors
    ///
    /// [`Refused::Field`] for a limit or cursor that is none, [`Refused::UnknownProject`].
    pub async fn list_columns(
        &self,
        grant: &Grant,
        query: &ColumnsQuery,
    ) -> Result<Page<ColumnInfo>, Refused> {
        grant.check_everything("listing columns")?;
        self.check_project(query.project.as_ref())?;
        let limit = read_limit(query.limit)?;
        let after = query.cursor.as_deref().map(read_column_cursor).transpose()?;
        self.core.table_filled().await?;
        let ColumnsQuery { project, prefix, deleted, .. } = query.clone();
        self.ask(move |rows, _| {
            let (shown, project) = (Shown::from_asked(deleted), project.as_ref().map(ProjectKey::as_str));
            let after = after.as_ref().map(|(kind, name)| (*kind, name.as_str()));
            let (mut items, total) =
                answer::discover(rows, shown, project, prefix.as_deref().unwrap_or_default(), after, limit);
            let more = items.len() > limit;
            items.truncate(limit);
            let next =
                items.last().filter(|_| more).map(|last| format!("{}.{}", kind_word(last.kind), last.name));
            Ok(Page { items, next, total })
        })
        .await
    }

    fn check_project(&self, project: Option<&ProjectKey>) -> Result<(), Refused> {
        match project {
            Some(project) => self.core.registry.find_project(project).map(drop),
            None => Ok(()),
        }
    }

    async fn ask<T: Send + 'static>(
        &self,
        answer: impl FnOnce(&Rows, &Registry) -> Result<T, Refused> + Send + 'static,
    ) -> Result<T, Refused> {
        let core = self.core.clone();
        let asked =
            tokio::task::spawn_blocking(move || answer(&core.registry.table.current(), &core.registry));
        asked.await.map_err(|broken| Refused::Storage(Box::new(broken)))?
    }
}

fn kind_word(kind: ColumnKind) -> &'static str {
    match kind {
        ColumnKind::Metric => "metric",
        ColumnKind::Param => "param",
        ColumnKind::Property => "property",
    }
}

fn read_column_cursor(text: &str) -> Result<(ColumnKind, String), Refused> {
    let kinds = [ColumnKind::Metric, ColumnKind::Param, ColumnKind::Property];
    let found = text.split_once('.').and_then(|(word, name)| {
        let kind = kinds.into_iter().find(|kind| kind_word(*kind) == word)?;
        Some((kind, name.to_owned()))
    });
    found.ok_or_else(|| Refused::field("cursor", "must be `next` of the page before"))
}
