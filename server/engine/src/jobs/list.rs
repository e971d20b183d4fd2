//! The list of jobs: which, in which order, and where the next page begins.
//!
//! Order is by the asked key, then newest id first where the key says nothing more, so it is total. A cursor holds the key
//! and id of the last row; the page after it begins behind that place wherever it lies now, so rows that come or go
//! meanwhile make no other row appear twice or vanish.

use std::cmp::Ordering;
use std::sync::Arc;

use neptune_wire::job::{JobsQuery, Page};
use neptune_wire::{Job, JobId, JobState, Tag};

use crate::Refused;

const LIMIT: u32 = 100;
const LIMIT_MAX: u32 = 1_000;

/// A checked query.
pub(super) struct Asked {
    words: Vec<String>,
    tags: Vec<Tag>,
    states: Vec<JobState>,
    sort: Sort,
    descending: bool,
    limit: usize,
    after: Option<(SortKey, JobId)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sort {
    Created,
    Name,
    State,
    Id,
}

/// What rows are ordered by before their ids.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum SortKey {
    Number(i64),
    Text(String),
}

impl Asked {
    pub(super) fn read(query: &JobsQuery) -> Result<Asked, Refused> {
        let list = |text: &Option<String>| -> Vec<String> {
            let parts = text.iter().flat_map(|text| text.split(','));
            parts.map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
        };
        let tags = list(&query.tags);
        let tags = tags.iter().map(|tag| Tag::new(tag)).collect::<Result<_, _>>();
        let tags = tags.map_err(|error| Refused::field("tags", error.to_string()))?;
        let states = list(&query.states).iter().map(|name| read_state(name)).collect::<Result<_, _>>()?;
        let (sort, descending) = read_sort(query.sort.as_deref().unwrap_or("-created"))?;
        let limit = query.limit.unwrap_or(LIMIT);
        if !(1..=LIMIT_MAX).contains(&limit) {
            return Err(Refused::field("limit", "must be 1 to 1000"));
        }
        let after = query.cursor.as_deref().map(|cursor| read_cursor(sort, cursor)).transpose()?;
        let words = query.search.iter().flat_map(|text| text.split_whitespace());
        let words = words.map(str::to_lowercase).collect();
        Ok(Asked { words, tags, states, sort, descending, limit: limit as usize, after })
    }

    fn matches(&self, job: &Job) -> bool {
        let state = self.states.is_empty() || self.states.contains(&job.state);
        state
            && self.tags.iter().all(|tag| job.tags.contains(tag))
            && (self.words.is_empty() || has_words(job, &self.words))
    }

    fn order(&self, a: (&SortKey, &JobId), b: (&SortKey, &JobId)) -> Ordering {
        let keys = a.0.cmp(b.0);
        let keys = if self.descending { keys.reverse() } else { keys };
        let ids = a.1.cmp(b.1);
        // Of equal keys the newer job comes first, except where the id itself is the key.
        let up = if self.sort == Sort::Id {
            !self.descending
        } else {
            self.sort == Sort::Created && !self.descending
        };
        keys.then(if up { ids } else { ids.reverse() })
    }
}

/// The asked page.
pub(super) fn page(jobs: Vec<Arc<Job>>, asked: &Asked) -> Page<Job> {
    let matching = jobs.into_iter().filter(|job| asked.matches(job));
    let mut rows: Vec<(SortKey, Arc<Job>)> =
        matching.map(|job| (key_from_job(asked.sort, &job), job)).collect();
    let total = rows.len() as u64;
    if let Some((key, id)) = &asked.after {
        rows.retain(|(row, job)| asked.order((row, &job.id), (key, id)) == Ordering::Greater);
    }
    let order =
        |a: &(SortKey, Arc<Job>), b: &(SortKey, Arc<Job>)| asked.order((&a.0, &a.1.id), (&b.0, &b.1.id));
    let more = rows.len() > asked.limit;
    if more {
        // Only the page is sorted, not all that match.
        rows.select_nth_unstable_by(asked.limit, order);
        rows.truncate(asked.limit);
    }
    rows.sort_unstable_by(order);
    let next = rows.last().filter(|_| more).map(|(key, job)| cursor_text(key, &job.id));
    Page { items: rows.into_iter().map(|(_, job)| Job::clone(&job)).collect(), next, total }
}

fn key_from_job(sort: Sort, job: &Job) -> SortKey {
    match sort {
        Sort::Created => SortKey::Number(job.created_micros.0),
        Sort::Name => SortKey::Text(job.name.to_lowercase()),
        Sort::State => SortKey::Number(job.state as i64),
        Sort::Id => SortKey::Number(0),
    }
}

fn has_words(job: &Job, words: &[String]) -> bool {
    let mut text = format!("{}\n{}\n{}\n", job.id, job.name, job.description);
    for tag in &job.tags {
        text.push_str(tag.as_str());
        text.push('\n');
    }
    text.push_str(job.host.as_deref().unwrap_or_default());
    for param in &job.params {
        text.push_str(&format!("\n{}={}", param.name, param.value));
    }
    let text = text.to_lowercase();
    words.iter().all(|word| text.contains(word))
}

fn read_state(name: &str) -> Result<JobState, Refused> {
    let found = JobState::ALL.into_iter().find(|state| state.as_str() == name);
    found.ok_or_else(|| {
        let all = JobState::ALL.map(JobState::as_str).join(", ");
        Refused::field("states", format!("{name:?} is no state; states are {all}"))
    })
}

fn read_sort(text: &str) -> Result<(Sort, bool), Refused> {
    let (name, descending) = match text.strip_prefix('-') {
        Some(name) => (name, true),
        None => (text, false),
    };
    let sort = match name {
        "created" => Sort::Created,
        "name" => Sort::Name,
        "state" => Sort::State,
        "id" => Sort::Id,
        _ => {
            return Err(Refused::field(
                "sort",
                "must be created, name, state or id, with - before it for descending",
            ));
        }
    };
    Ok((sort, descending))
}

/// `i17_TRIG-12` or `ttext_TRIG-12`: the key and the id of a page's last row.
fn cursor_text(key: &SortKey, id: &JobId) -> String {
    match key {
        SortKey::Number(number) => format!("i{number}_{id}"),
        SortKey::Text(text) => format!("t{text}_{id}"),
    }
}

fn read_cursor(sort: Sort, cursor: &str) -> Result<(SortKey, JobId), Refused> {
    let parts = || {
        let (key, id) = cursor.rsplit_once('_')?;
        let key = match (sort, key.split_at_checked(1)?) {
            (Sort::Name, ("t", text)) => SortKey::Text(text.into()),
            (Sort::Created | Sort::State | Sort::Id, ("i", number)) => SortKey::Number(number.parse().ok()?),
            _ => return None,
        };
        Some((key, id.parse().ok()?))
    };
    parts().ok_or_else(|| Refused::field("cursor", "must be `next` of the page before, with the same sort"))
}
