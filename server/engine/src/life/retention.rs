//! Rules of retention: which jobs of a project are deleted by themselves, and why. Every deletion by a rule is restorable.

use std::collections::BTreeMap;
use std::sync::Arc;

use neptune_store::{JobRecord, RetentionRecord, Writes};
use neptune_wire::project::{Doomed, RetentionPreview};
use neptune_wire::{Job, JobState, Micros, ProjectKey, Retention, RetentionRule};

use super::{DAY_MICROS, Life};
use crate::engine::Core;
use crate::registry::{JobCell, LOCK};
use crate::{Engine, Grant, Refused};

/// Rules of one project.
const RULES: usize = 20;
/// Tags of one rule.
const TAGS: usize = 100;
/// Longest age, a hundred years.
const DAYS: u32 = 36_500;
/// After the last step of an import, for which rules leave its project alone: what is being imported is not whole.
const IMPORT_QUIET_MICROS: i64 = 10 * 60 * 1_000_000;

impl Engine {
    /// The rules of a project; none when it has none.
    ///
    /// # Errors
    ///
    /// [`Refused::UnknownProject`].
    pub async fn read_retention(&self, grant: &Grant, project: &ProjectKey) -> Result<Retention, Refused> {
        self.may_use_project(grant, project)?;
        Ok(self.core.life.retention_of(project))
    }

    /// Replaces the rules of a project. They are looked at every few minutes.
    ///
    /// # Errors
    ///
    /// [`Refused::Field`] for a rule that would delete jobs that run, or everything at once.
    pub async fn replace_retention(
        &self,
        grant: &Grant,
        project: &ProjectKey,
        retention: Retention,
    ) -> Result<Retention, Refused> {
        grant.check_everything("changing rules of retention")?;
        self.may_use_project(grant, project)?;
        check_new(&retention)?;
        let (core, project) = (self.core.clone(), project.clone());
        let replaced = async move {
            let cell = core.registry.find_project(&project)?;
            let _one = cell.writing.lock().await;
            let mut writes = Writes::new();
            writes.put_retention(&project, &RetentionRecord::from(&retention));
            core.store.commit(writes).await?;
            core.life.retentions.lock().expect(LOCK).insert(project, retention.clone());
            Ok(retention)
        };
        self.core.finish(replaced).await
    }

    /// What the project's rules, or those given instead, would delete now.
    ///
    /// # Errors
    ///
    /// As [`Engine::replace_retention`].
    pub async fn preview_retention(
        &self,
        grant: &Grant,
        project: &ProjectKey,
        instead: Option<Retention>,
        now: Micros,
    ) -> Result<RetentionPreview, Refused> {
        grant.check_everything("looking at rules of retention")?;
        self.may_use_project(grant, project)?;
        if let Some(instead) = &instead {
            check_new(instead)?;
        }
        let retention = instead.unwrap_or_else(|| self.core.life.retention_of(project));
        let jobs = self.core.jobs_of(project);
        let doomed = doomed(&jobs, &retention, now);
        let shown = |(job, reason): (Arc<Job>, String)| Doomed {
            job: job.id.clone(),
            name: job.name.clone(),
            reason,
        };
        Ok(RetentionPreview { jobs: doomed.into_iter().map(shown).collect() })
    }
}

impl Core {
    fn jobs_of(&self, project: &ProjectKey) -> Vec<Candidate> {
        let candidate = |cell: &Arc<JobCell>| Candidate { job: cell.job(), since: since(cell) };
        self.registry.list_cells(project).iter().map(candidate).collect()
    }

    /// Deletes what rules of all projects want deleted. A job that cannot be is left for the next time.
    pub(super) async fn apply_retention(self: &Arc<Self>, now: Micros) -> Result<(), Refused> {
        let retentions = self.life.retentions.lock().expect(LOCK).clone();
        for (project, retention) in retentions {
            let jobs = self.jobs_of(&project);
            for (job, reason) in doomed(&jobs, &retention, now) {
                self.check_running()?;
                let Some(cell) = self.registry.find_uid(&job.uid) else { continue };
                // It may have changed meanwhile, so that the rules spare it now.
                let same = |seen: &Job| seen.state == job.state && seen.tags == job.tags;
                if !same(&cell.job()) || self.life.is_importing(&project, now) {
                    continue;
                }
                match self.hide(&cell, reason, now).await {
                    Err(error) if self.store.disk().is_full() => return Err(error),
                    Err(error) => tracing::warn!(job = %cell.id, %error, "a rule could not delete a job"),
                    Ok(()) => {}
                }
            }
        }
        Ok(())
    }
}

impl Life {
    /// Whether something was imported into a project a short while ago. A clock that went back makes it none.
    fn is_importing(&self, project: &ProjectKey, now: Micros) -> bool {
        let last = self.imports.lock().expect(LOCK).get(project).copied();
        last.is_some_and(|last| (0..IMPORT_QUIET_MICROS).contains(&now.0.saturating_sub(last.0)))
    }
}

/// A job that rules look at.
struct Candidate {
    job: Arc<Job>,
    /// From when its age counts.
    since: Micros,
}

/// When a job ended, or was made if it never ran; but what came here later, by an import or from a spool, is no older here
/// than that.
fn since(cell: &JobCell) -> Micros {
    let JobRecord { created, status, arrived, .. } = cell.record();
    let since = status.ended.unwrap_or(created);
    arrived.map_or(since, |arrived| arrived.max(since))
}

/// Refuses rules that are set now and cannot be meant.
fn check_new(retention: &Retention) -> Result<(), Refused> {
    check_stored(retention)?;
    for (at, rule) in retention.rules.iter().enumerate() {
        if rule.states.contains(&JobState::Lost) && !spares_fresh_losses(rule) {
            let wanted =
                "must be given, from 1, where lost is named: the program of a lost job may still train";
            return Err(Refused::field(format!("rules[{at}].older_than_days"), wanted));
        }
    }
    Ok(())
}

/// Whether lost jobs have time to be found again.
fn spares_fresh_losses(rule: &RetentionRule) -> bool {
    rule.older_than_days.is_some_and(|days| days > 0)
}

/// Refuses rules that were never right.
pub(crate) fn check_stored(retention: &Retention) -> Result<(), Refused> {
    if retention.rules.len() > RULES {
        return Err(Refused::TooLarge { what: "number of rules", limit: RULES as u64 });
    }
    for (at, rule) in retention.rules.iter().enumerate() {
        let field = |name: &str| format!("rules[{at}].{name}");
        if rule.older_than_days.is_none() && rule.keep_last.is_none() {
            let wanted = "must be given, or keep_last: a rule without both would delete every job at once";
            return Err(Refused::field(field("older_than_days"), wanted));
        }
        if rule.older_than_days.is_some_and(|days| days > DAYS) {
            return Err(Refused::field(field("older_than_days"), "must be at most 36500"));
        }
        if let Some(state) = rule.states.iter().find(|state| !may_be_deleted(**state)) {
            let wanted = format!("{state} is of a job that runs or waits; name ended states or created");
            return Err(Refused::field(field("states"), wanted));
        }
        if rule.keep_tagged.len() > TAGS {
            return Err(Refused::TooLarge { what: "number of tags of a rule", limit: TAGS as u64 });
        }
    }
    Ok(())
}

fn may_be_deleted(state: JobState) -> bool {
    state.is_ended() || state == JobState::Created
}

/// The jobs that rules delete, each with the first rule that does, oldest first.
fn doomed(jobs: &[Candidate], retention: &Retention, now: Micros) -> Vec<(Arc<Job>, String)> {
    let mut found = BTreeMap::new();
    for rule in &retention.rules {
        let reason = in_words(rule);
        for job in doomed_by(jobs, rule, now) {
            let place = (job.created_micros, job.id.clone());
            found.entry(place).or_insert_with(|| (job.clone(), reason.clone()));
        }
    }
    found.into_values().collect()
}

fn doomed_by<'a>(jobs: &'a [Candidate], rule: &RetentionRule, now: Micros) -> Vec<&'a Arc<Job>> {
    let concerned = |Candidate { job, .. }: &&Candidate| {
        let state = match (job.state, rule.states.is_empty()) {
            (JobState::Lost, true) => false,
            // As it was set once.
            (JobState::Lost, false) if !spares_fresh_losses(rule) => false,
            (state, true) => state.is_ended(),
            (state, false) => rule.states.contains(&state),
        };
        state
            && may_be_deleted(job.state)
            && job.deleted.is_none()
            && !rule.keep_tagged.iter().any(|tag| job.tags.contains(tag))
    };
    let mut concerned: Vec<&Candidate> = jobs.iter().filter(concerned).collect();
    concerned.sort_by_key(|Candidate { job, .. }| std::cmp::Reverse((job.created_micros, job.id.number)));
    let is_old = |Candidate { since, .. }: &&Candidate| {
        rule.older_than_days.is_none_or(|days| now.0.saturating_sub(since.0) >= i64::from(days) * DAY_MICROS)
    };
    let beyond = concerned.into_iter().skip(rule.keep_last.unwrap_or(0) as usize);
    beyond.filter(is_old).map(|candidate| &candidate.job).collect()
}

/// `retention: failed jobs older than 30 days, beyond the newest 10, not tagged best`
fn in_words(rule: &RetentionRule) -> String {
    let states: Vec<&str> = rule.states.iter().map(|state| state.as_str()).collect();
    let states = if states.is_empty() { "ended".to_owned() } else { states.join(" or ") };
    let mut words = format!("retention: {states} jobs");
    if let Some(days) = rule.older_than_days {
        words.push_str(&format!(" older than {days} days"));
    }
    if let Some(last) = rule.keep_last {
        words.push_str(&format!(", beyond the newest {last}"));
    }
    if !rule.keep_tagged.is_empty() {
        let tags: Vec<&str> = rule.keep_tagged.iter().map(|tag| tag.as_str()).collect();
        words.push_str(&format!(", not tagged {}", tags.join(" or ")));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Micros = Micros(1_000 * DAY_MICROS);

    /// A job that ended so many days ago.
    fn job(number: u64, days: i64, state: JobState, tag: &str) -> Candidate {
        let ended = state.is_ended().then_some(NOW.0 - days * DAY_MICROS);
        let job = serde_json::json!({
            "id": format!("TRIG-{number}"),
            "uid": format!("{number:032x}"),
            "project": "TRIG",
            "name": "",
            "state": state,
            "created_micros": NOW.0 - days * DAY_MICROS - 5,
            "ended_micros": ended,
            "tags": [tag],
        });
        let job: Arc<Job> = Arc::new(serde_json::from_value(job).unwrap());
        Candidate { since: job.ended_micros.unwrap_or(job.created_micros), job }
    }

    fn jobs() -> Vec<Candidate> {
        vec![
            job(1, 40, JobState::Failed, "old"),
            job(2, 30, JobState::Succeeded, "best"),
            job(3, 29, JobState::Failed, "old"),
            job(4, 50, JobState::Running, "old"),
            job(5, 60, JobState::Created, "old"),
            job(6, 1, JobState::Failed, "new"),
            job(7, 70, JobState::Lost, "old"),
        ]
    }

    #[track_caller]
    fn check_doomed(rule: RetentionRule, expected: &[u64]) {
        let retention = Retention { rules: vec![rule] };
        check_stored(&retention).unwrap();
        let found: Vec<u64> = doomed(&jobs(), &retention, NOW).iter().map(|(job, _)| job.id.number).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_rule_takes_what_it_says_and_nothing_that_runs() {
        let days = |days| RetentionRule { older_than_days: Some(days), ..RetentionRule::default() };
        check_doomed(days(30), &[1, 2]);
        check_doomed(days(41), &[]);
        check_doomed(RetentionRule { states: vec![JobState::Failed], ..days(0) }, &[1, 3, 6]);
        check_doomed(RetentionRule { states: vec![JobState::Created], ..days(10) }, &[5]);
        check_doomed(RetentionRule { states: vec![JobState::Lost], ..days(70) }, &[7]);
        let last = |last| RetentionRule { keep_last: Some(last), ..RetentionRule::default() };
        check_doomed(last(1), &[1, 2, 3]);
        check_doomed(RetentionRule { keep_tagged: vec!["best".parse().unwrap()], ..last(1) }, &[1, 3]);
        check_doomed(RetentionRule { keep_last: Some(2), ..days(35) }, &[1]);
        // Set when that was allowed.
        check_doomed(RetentionRule { states: vec![JobState::Lost, JobState::Created], ..last(0) }, &[5]);
    }

    #[test]
    fn a_rule_that_cannot_be_meant_is_refused_and_a_reason_is_in_words() {
        let refused = |rule| check_new(&Retention { rules: vec![rule] }).unwrap_err().to_string();
        assert!(refused(RetentionRule::default()).starts_with("rules[0].older_than_days: must be given"));
        let running =
            RetentionRule { states: vec![JobState::Running], keep_last: Some(1), ..Default::default() };
        assert!(refused(running).starts_with("rules[0].states: running is of a job that runs"));
        for days in [None, Some(0)] {
            let states = vec![JobState::Failed, JobState::Lost];
            let lost =
                RetentionRule { states, keep_last: Some(1), older_than_days: days, ..Default::default() };
            assert!(refused(lost).starts_with("rules[0].older_than_days: must be given, from 1"));
        }
        let rule = RetentionRule {
            states: vec![JobState::Failed, JobState::Lost],
            older_than_days: Some(30),
            keep_last: Some(10),
            keep_tagged: vec!["best".parse().unwrap()],
        };
        let words =
            "retention: failed or lost jobs older than 30 days, beyond the newest 10, not tagged best";
        assert_eq!(in_words(&rule), words);
    }
}
