//! Creating a job: its number comes from the project's counter, in the same commit.

use neptune_store::{JobRecord, JobSpec, ProjectRecord, StoredJob, Writes};
use neptune_wire::id::JOB_NUMBER_MAX;
use neptune_wire::job::CreateJob;
use neptune_wire::{Job, JobUid, Micros};

use super::{checks, transition};
use crate::Refused;
use crate::engine::Core;
use crate::step::Status;

impl Core {
    pub(super) async fn create_job(
        &self,
        uid: JobUid,
        create: CreateJob,
        now: Micros,
    ) -> Result<Job, Refused> {
        let project = self.registry.find_project(&create.project)?;
        checks::create(&create)?;
        // Until the job that names the snapshot is there.
        let using = self.life.begin_use().await;
        if let Some(snapshot) = &create.snapshot
            && !self.use_snapshot(&using, &create.project, snapshot, now).await?
        {
            return Err(Refused::UnknownSnapshot);
        }
        let spec = JobSpec {
            params: create.params,
            command: create.command,
            environment: create.environment,
            metric: create.metric,
            snapshot: create.snapshot,
        };
        checks::spec(&spec)?;
        let tags = checks::tags(create.tags, vec![], &[])?;

        let _one_of_uid = self.registry.creating(&uid).await;
        if let Some(first) = self.registry.find_uid(&uid) {
            return Ok(Job::clone(&first.job()));
        }
        let _one_of_project = project.writing.lock().await;
        let old = project.record.lock().expect(crate::registry::LOCK).clone();
        let last_number = next_number(&old)?;
        let new = ProjectRecord { last_number, jobs: old.jobs + 1, ..old.clone() };
        let record = JobRecord {
            revision: 1,
            project: create.project,
            number: new.last_number,
            name: create.name,
            description: create.description,
            tags,
            created: create.created_micros.unwrap_or(now),
            status: transition::record_from_status(&Status::created()),
            // It may have been made long before this server is told of it.
            arrived: create.created_micros.map(|_| now),
        };
        let mut writes = Writes::new();
        writes.replace_project(&project.key, &old, &new);
        writes.create_numbered_job(&uid, &record, &spec, &create.properties);
        self.store.commit(writes).await?;
        *project.record.lock().expect(crate::registry::LOCK) = new;
        let stored =
            StoredJob { uid, record, spec, properties: create.properties, attempts: vec![], deleted: None };
        let cell = self.registry.add_job(stored, 0);
        cell.made_now(now);
        self.registry.publish(&cell, |_, _, _| {});
        Ok(Job::clone(&cell.job()))
    }
}

/// The number of a project's next job.
pub(crate) fn next_number(project: &ProjectRecord) -> Result<u64, Refused> {
    let next = project.last_number.checked_add(1).filter(|next| *next <= JOB_NUMBER_MAX);
    next.ok_or(Refused::TooLarge { what: "the number of the project's next job", limit: JOB_NUMBER_MAX })
}
