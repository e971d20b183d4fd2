//! Which jobs the list shows and in which order: kept in the page's address, asked of the server, and applied to
//! jobs that arrive live. The live side must agree with [`neptune_wire::job::JobsQuery`] word for word.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use neptune_wire::{Job, JobState, ProjectKey, Tag};

use super::address::Query;

/// The choice of jobs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JobFilter {
    /// Only this project.
    pub project: Option<ProjectKey>,
    /// Words that must all occur.
    pub search: String,
    /// Tags that must all be there.
    pub tags: Vec<Tag>,
    /// States, any of which will do; all when empty.
    pub states: Vec<JobState>,
    /// The order.
    pub sort: Sort,
}

/// A column and a direction, written `-created` or `name`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sort {
    /// By which column.
    pub by: SortBy,
    /// Largest (newest) first.
    pub descending: bool,
}

/// The columns that the server sorts by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SortBy {
    /// Time of creation.
    Created,
    /// Name.
    Name,
    /// State, in the order of a job's life.
    State,
    /// Project key, then number.
    Id,
}

impl Default for Sort {
    fn default() -> Self {
        Self { by: SortBy::Created, descending: true }
    }
}

impl SortBy {
    const ALL: [(Self, &str); 4] =
        [(Self::Created, "created"), (Self::Name, "name"), (Self::State, "state"), (Self::Id, "id")];
}

impl fmt::Display for Sort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = SortBy::ALL.iter().find(|(by, _)| *by == self.by).map_or("created", |(_, name)| name);
        write!(f, "{}{name}", if self.descending { "-" } else { "" })
    }
}

impl FromStr for Sort {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let name = text.strip_prefix('-').unwrap_or(text);
        let (by, _) = SortBy::ALL.iter().find(|(_, known)| *known == name).ok_or(())?;
        Ok(Self { by: *by, descending: text.starts_with('-') })
    }
}

impl Sort {
    /// What a click on a column's heading makes of the order: the other direction, or that column's natural one.
    pub fn clicked(self, by: SortBy) -> Self {
        let descending = if self.by == by { !self.descending } else { by == SortBy::Created };
        Self { by, descending }
    }

    /// The order of two jobs; equal ones by id, so that the order is total.
    pub fn compare(self, left: &Job, right: &Job) -> Ordering {
        let by_id = || (&left.id.project, left.id.number).cmp(&(&right.id.project, right.id.number));
        let order = match self.by {
            SortBy::Created => left.created_micros.cmp(&right.created_micros),
            SortBy::Name => left.name.to_lowercase().cmp(&right.name.to_lowercase()),
            SortBy::State => left.state.cmp(&right.state),
            SortBy::Id => Ordering::Equal,
        };
        let order = order.then_with(by_id);
        if self.descending { order.reverse() } else { order }
    }
}

impl JobFilter {
    /// Reads the page's address; what it does not understand is left out.
    pub fn from_query(query: &Query) -> Self {
        Self {
            project: query.find("project").and_then(|key| key.parse().ok()),
            search: query.find("search").unwrap_or_default().into(),
            tags: query.list("tags"),
            states: query
                .list::<String>("states")
                .iter()
                .filter_map(|word| JobState::ALL.into_iter().find(|state| state.as_str() == word))
                .collect(),
            sort: query.find("sort").and_then(|sort| sort.parse().ok()).unwrap_or_default(),
        }
    }

    /// The query of the page's address, which is also the server's: parts at their default are left out.
    pub fn to_query(&self) -> Query {
        let sort = if self.sort == Sort::default() { String::new() } else { self.sort.to_string() };
        Query::default()
            .set("project", self.project.as_ref().map(ToString::to_string).unwrap_or_default())
            .set("search", self.search.trim())
            .set("tags", joined(&self.tags))
            .set("states", joined(&self.states))
            .set("sort", sort)
    }

    /// Whether anything is left out.
    pub fn is_narrow(&self) -> bool {
        !self.search.trim().is_empty()
            || self.project.is_some()
            || !self.tags.is_empty()
            || !self.states.is_empty()
    }

    /// Adds or removes a tag.
    pub fn toggle_tag(mut self, tag: &Tag) -> Self {
        toggle(&mut self.tags, tag);
        self
    }

    /// Adds or removes a state.
    pub fn toggle_state(mut self, state: JobState) -> Self {
        toggle(&mut self.states, &state);
        self
    }

    /// Whether the list shows this job.
    pub fn matches(&self, job: &Job) -> bool {
        job.deleted.is_none()
            && self.project.as_ref().is_none_or(|project| *project == job.project)
            && self.tags.iter().all(|tag| job.tags.contains(tag))
            && (self.states.is_empty() || self.states.contains(&job.state))
            && self.words_occur(job)
    }

    fn words_occur(&self, job: &Job) -> bool {
        let words: Vec<_> = self.search.split_whitespace().map(str::to_lowercase).collect();
        if words.is_empty() {
            return true;
        }
        let mut texts = vec![job.id.to_string(), job.name.clone(), job.description.clone()];
        texts.extend(job.host.clone());
        texts.extend(job.tags.iter().map(ToString::to_string));
        for param in &job.params {
            texts.push(param.name.to_string());
            texts.push(param.value.to_string());
        }
        let texts: Vec<_> = texts.iter().map(|text| text.to_lowercase()).collect();
        words.iter().all(|word| texts.iter().any(|text| text.contains(word.as_str())))
    }
}

fn toggle<T: PartialEq + Clone>(list: &mut Vec<T>, item: &T) {
    match list.iter().position(|held| held == item) {
        Some(at) => drop(list.remove(at)),
        None => list.push(item.clone()),
    }
}

fn joined<T: fmt::Display>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::super::jobs::tests::job;
    use super::*;

    fn filter(query: &str) -> JobFilter {
        JobFilter::from_query(&Query::parse(query))
    }

    #[test]
    fn the_address_holds_the_filter() {
        for query in
            ["", "project=TRIG&search=big%20model&tags=a,b-c&states=running,failed&sort=name", "sort=-id"]
        {
            assert_eq!(filter(query).to_query().to_string(), query);
        }
        assert_eq!(filter("sort=-created").to_query().to_string(), "", "the default order is not written");
    }

    #[test]
    fn nonsense_in_the_address_is_left_out() {
        assert_eq!(
            filter("project=lower&states=flying,lost&tags=A,b&sort=weight").to_query().to_string(),
            "tags=b&states=lost"
        );
    }

    #[test]
    fn live_jobs_are_judged_like_the_servers() {
        let job = job(7, |job| {
            job.name = "Digits".into();
            job.host = Some("Box1".into());
            job.tags = vec!["base".parse().unwrap()];
            job.state = JobState::Running;
            job.params = vec![serde_json::from_str(r#"{"name":"lr","type":"double","value":0.01}"#).unwrap()];
        });
        for yes in [
            "",
            "search=dig%20BOX",
            "search=trig-7",
            "search=0.01",
            "tags=base",
            "states=lost,running",
            "project=TRIG",
        ] {
            assert!(filter(yes).matches(&job), "{yes}");
        }
        for no in ["search=digits%20none", "tags=base,x", "states=lost", "project=OTHER"] {
            assert!(!filter(no).matches(&job), "{no}");
        }
    }

    #[test]
    fn a_heading_turns_its_order_around() {
        let sort = Sort::default().clicked(SortBy::Name);
        assert_eq!(sort.to_string(), "name");
        assert_eq!(sort.clicked(SortBy::Name).to_string(), "-name");
        assert_eq!(sort.clicked(SortBy::Created).to_string(), "-created");
    }
}
