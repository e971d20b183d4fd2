//! The jobs that the list holds: pages as they were asked for, then every change as it arrives.

use std::rc::Rc;

use neptune_wire::Job;
use neptune_wire::job::Page;

use super::filter::JobFilter;

/// Rows of the jobs list, in the filter's order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct JobList {
    rows: Vec<Rc<Job>>,
    next: Option<String>,
    total: u64,
}

impl JobList {
    /// The rows in order.
    pub fn rows(&self) -> &[Rc<Job>] {
        &self.rows
    }

    /// How many jobs match the filter, loaded or not.
    pub fn total(&self) -> u64 {
        self.total.max(self.rows.len() as u64)
    }

    /// Cursor of the rows after the last one; `None` when all are here.
    pub fn next(&self) -> Option<&str> {
        self.next.as_deref()
    }

    /// Begins anew with a first page.
    pub fn restart(&mut self, page: Page<Job>) {
        self.rows.clear();
        self.extend(page);
    }

    /// Adds the page after the last one. Jobs that arrived live in the meantime are not doubled.
    pub fn extend(&mut self, page: Page<Job>) {
        for job in page.items {
            match self.rows.iter_mut().find(|row| row.uid == job.uid) {
                Some(row) => *row = job.into(),
                None => self.rows.push(job.into()),
            }
        }
        self.next = page.next;
        self.total = page.total;
    }

    /// Takes a new or changed job: it comes, moves, changes or leaves as the filter says.
    ///
    /// Beyond the last loaded row lie rows that are not here. A job that belongs there is taken to be one of them: it
    /// is counted already, and comes with its page.
    pub fn apply(&mut self, job: Job, filter: &JobFilter) {
        let old = self.rows.iter().position(|row| row.uid == job.uid);
        if let Some(at) = old {
            self.rows.remove(at);
        }
        if !filter.matches(&job) {
            self.total -= u64::from(old.is_some()).min(self.total);
            return;
        }
        let at = self.rows.partition_point(|row| filter.sort.compare(row, &job).is_lt());
        if at < self.rows.len() || self.next.is_none() || old.is_some() {
            self.total += u64::from(old.is_none());
            self.rows.insert(at, job.into());
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use neptune_wire::{JobState, JobUid};

    use super::super::address::Query;
    use super::*;

    /// A job of the project `TRIG` with what a test cares about.
    pub(crate) fn job(number: u64, change: impl Fn(&mut Job)) -> Job {
        let mut uid = [0; 16];
        uid[..8].copy_from_slice(&number.to_be_bytes());
        let mut job: Job = serde_json::from_value(serde_json::json!({
            "id": format!("TRIG-{number}"),
            "uid": JobUid::from_bytes(uid),
            "project": "TRIG",
            "name": format!("job {number}"),
            "state": "created",
            "created_micros": number * 1_000_000,
        }))
        .unwrap();
        change(&mut job);
        job
    }

    fn page(numbers: &[u64], next: Option<&str>, total: u64) -> Page<Job> {
        Page { items: numbers.iter().map(|n| job(*n, |_| {})).collect(), next: next.map(Into::into), total }
    }

    fn numbers(list: &JobList) -> Vec<u64> {
        list.rows().iter().map(|job| job.id.number).collect()
    }

    #[test]
    fn a_new_job_comes_to_its_place() {
        let mut list = JobList::default();
        list.restart(page(&[3, 2, 1], None, 3));
        list.apply(job(4, |_| {}), &JobFilter::default());
        assert_eq!((numbers(&list), list.total()), (vec![4, 3, 2, 1], 4));
        let by_name = JobFilter::from_query(&Query::parse("sort=name"));
        let mut list = JobList::default();
        list.restart(page(&[1, 3], None, 2));
        list.apply(job(2, |_| {}), &by_name);
        assert_eq!(numbers(&list), [1, 2, 3]);
    }

    #[test]
    fn a_changed_job_changes_in_its_row() {
        let mut list = JobList::default();
        list.restart(page(&[3, 2, 1], None, 3));
        list.apply(job(2, |job| job.state = JobState::Running), &JobFilter::default());
        assert_eq!((numbers(&list), list.total()), (vec![3, 2, 1], 3));
        assert_eq!(list.rows()[1].state, JobState::Running);
    }

    #[test]
    fn a_job_that_no_longer_matches_leaves() {
        let created = JobFilter::from_query(&Query::parse("states=created"));
        let mut list = JobList::default();
        list.restart(page(&[3, 2, 1], None, 3));
        list.apply(job(2, |job| job.state = JobState::Running), &created);
        assert_eq!((numbers(&list), list.total()), (vec![3, 1], 2));
        list.apply(job(2, |job| job.state = JobState::Failed), &created);
        assert_eq!(list.total(), 2);
    }

    #[test]
    fn pages_follow_each_other_without_doubles() {
        let mut list = JobList::default();
        list.restart(page(&[5, 4], Some("c"), 5));
        list.apply(job(2, |job| job.state = JobState::Running), &JobFilter::default());
        assert_eq!((numbers(&list), list.total()), (vec![5, 4], 5), "it lies on a page that is not here");
        list.apply(job(6, |_| {}), &JobFilter::default());
        list.extend(page(&[4, 3, 2, 1], None, 6));
        assert_eq!((numbers(&list), list.total(), list.next()), (vec![6, 5, 4, 3, 2, 1], 6, None));
    }
}
