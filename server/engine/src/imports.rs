//! Taking in what was exported: projects and jobs with all that records keep of them, and what jobs produced, as frames.
//!
//! An imported job is in its last state from the beginning; one that ran when it was exported is lost here. Its frames are
//! the server's own, like those made from JSON, and come under keys, so that whatever is repeated is stored once.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use neptune_store::kv::Limits;
use neptune_store::{
    AppendedRecord, AttemptRecord, DroppedRecord, JobRecord, JobSpec, ProjectRecord, RetentionRecord,
    StoredJob, Writes,
};
use neptune_wire::frame::{Block, parse};
use neptune_wire::id::{ClaimId, JOB_NUMBER_MAX};
use neptune_wire::job::{Attempt, CreateJob};
use neptune_wire::life::{ImportJob, ImportProject};
use neptune_wire::query::Appended;
use neptune_wire::{AttemptNumber, Digest, Job, JobRef, JobState, JobUid, Micros, Project};
use tokio::sync::oneshot;

use crate::access::attempt_token;
use crate::channels::{NEW_CHANNELS, NewChannels};
use crate::engine::Core;
use crate::heads::{DIRECT, Head, JobHeads};
use crate::ingest::check::check_kind;
use crate::ingest::json::{FRAMES_BYTES, key_hash};
use crate::ingest::lane::{Entry, JsonEntry};
use crate::jobs::create::next_number;
use crate::jobs::{checks, transition};
use crate::life::User;
use crate::registry::{JobCell, LOCK};
use crate::step::Status;
use crate::{Engine, Grant, Refused};

/// Attempts of one imported job: with its other records they fit one commit.
const ATTEMPTS: usize = 100;

/// One request of frames of an imported job.
#[derive(Debug, Clone)]
pub struct ImportFrames<'a> {
    /// Under which they are stored once.
    pub key: &'a str,
    /// How many points the job has before these, in all channels but logs, whose bytes say where they belong; not compared
    /// when nobody says it.
    pub behind: Option<u64>,
    /// Each a length as u32, little-endian, and the frame, whose channel numbers are the job's own. Together they fit one
    /// commit.
    pub bytes: Bytes,
}

impl Engine {
    /// Takes in a project as it was exported; one of the same key and name stays as it is.
    ///
    /// # Errors
    ///
    /// [`Refused::Taken`] for a key that a project of another name has.
    pub async fn import_project(&self, grant: &Grant, import: ImportProject) -> Result<Project, Refused> {
        grant.check_everything("importing")?;
        let ImportProject { project, retention } = import;
        crate::projects::check_name(&project.name)?;
        crate::life::check_stored_retention(&retention)?;
        let core = self.core.clone();
        let imported = async move {
            let _one = core.registry.creating_project.lock().await;
            if let Ok(existing) = core.registry.find_project(&project.key) {
                return crate::projects::same_name(existing.project(), &project.name);
            }
            let (name, created) = (project.name, project.created_micros);
            let record = ProjectRecord { name, created, last_number: 0, jobs: 0 };
            let mut writes = Writes::new();
            writes.create_project(&project.key, &record);
            if !retention.rules.is_empty() {
                writes.put_retention(&project.key, &RetentionRecord::from(&retention));
            }
            core.store.commit(writes).await?;
            core.registry.add_project(project.key.clone(), record);
            if !retention.rules.is_empty() {
                core.life.retentions.lock().expect(LOCK).insert(project.key.clone(), retention);
            }
            Ok(core.registry.find_project(&project.key)?.project())
        };
        self.core.finish(imported).await
    }

    /// Takes in a job as it was exported, or goes on with one that was begun: channels from `first_channel` on, charts.
    ///
    /// # Errors
    ///
    /// [`Refused::MadeHere`] when a job that was made here has its uid, [`Refused::Taken`] when another imported one has,
    /// [`Refused::UnknownSnapshot`], [`Refused::Field`].
    pub async fn import_job(&self, grant: &Grant, import: ImportJob, now: Micros) -> Result<Job, Refused> {
        grant.check_everything("importing")?;
        let core = self.core.clone();
        let imported = async move {
            core.note_import(&import.job.project, now)?;
            let cell = core.import_records(&import, now).await?;
            cell.check_kept()?;
            core.import_channels(&cell, &import).await?;
            Ok(Job::clone(&cell.job()))
        };
        let job = self.core.finish(imported).await?;
        Ok(job)
    }

    /// Stores frames of an imported job, once per key.
    ///
    /// # Errors
    ///
    /// [`Refused::CountDiffers`], [`Refused::DamagedFrame`], [`Refused::UnboundChannel`], [`Refused::ChannelKindDiffers`],
    /// [`Refused::TooLarge`], [`Refused::UnknownBlob`] for an image that the project does not hold; nothing is stored then.
    pub async fn import_frames(
        &self,
        grant: &Grant,
        job: &JobRef,
        import: ImportFrames<'_>,
        now: Micros,
    ) -> Result<Appended, Refused> {
        grant.check_everything("importing")?;
        let cell = self.find_job(grant, job)?;
        cell.check_kept()?;
        self.core.note_import(&cell.id.project, now)?;
        let ImportFrames { key, behind, bytes } = import;
        let hash = key_hash(key)?;
        let core = self.core.clone();
        let stored = async move {
            let asked = *blake3::hash(&bytes).as_bytes();
            let heads = cell.heads(&core).await?;
            let _one = heads.appending.lock().await;
            if let Some(before) = core.store.find_appended(&cell.uid, &hash).await? {
                if before.asked != asked {
                    let by = "other frames; a key stands for one request".to_owned();
                    return Err(Refused::Taken { what: "idempotency key", by });
                }
                return Ok(Appended { points: before.points, repeated: true });
            }
            if let Some(behind) = behind {
                check_behind(&heads, behind)?;
            }
            let Parsed { frames, points, images } = read_frames(&bytes, &heads, &core.store.limits())?;
            let room = core.room_for_request(&cell, &heads, bytes.len() as u32).await?;
            // Until the frames that name the images are there.
            let using = core.life.begin_use().await;
            let held = core.use_blobs(&using, &cell.id.project, &images, User::Job(cell.uid), now).await?;
            if let Some((digest, _)) = images.iter().zip(held).find(|(_, held)| !held) {
                return Err(Refused::UnknownBlob { digest: *digest });
            }
            let (stored, told) = oneshot::channel();
            let lane = core.lanes.lane_of(&cell.uid);
            let (cell, heads) = (cell.clone(), heads.clone());
            let entry = JsonEntry { cell, heads, hash, asked, frames, points, stored, _room: room };
            lane.line_up(Entry::Json(entry), &core.store.limits());
            told.await.unwrap_or(Err(Refused::Busy))?;
            Ok(Appended { points, repeated: false })
        };
        self.core.finish(stored).await
    }
}

/// The frames of one request, checked.
struct Parsed {
    frames: Vec<Bytes>,
    points: u64,
    /// Each once.
    images: Vec<Digest>,
}

/// Refuses what would not go on where the job's points end: two imports at once would bring the same twice.
///
/// Counts only grow, so one sum tells of every channel.
fn check_behind(heads: &JobHeads, behind: u64) -> Result<(), Refused> {
    let inner = heads.lock();
    let channels = inner.channels.iter().filter(|channel| !matches!(channel.head, Head::Log(_)));
    let found: u64 = channels.map(|channel| channel.count()).sum();
    if found == behind { Ok(()) } else { Err(Refused::CountDiffers { found, behind }) }
}

fn read_frames(bytes: &Bytes, heads: &JobHeads, limits: &Limits) -> Result<Parsed, Refused> {
    if bytes.len() > FRAMES_BYTES {
        return Err(Refused::TooLarge {
            what: "size of one request's frames in bytes",
            limit: FRAMES_BYTES as u64,
        });
    }
    // Beside them lies the remembered key, a condition and a put.
    let frames_max = limits.batch_ops - 2;
    let inner = heads.lock();
    let (mut frames, mut points, mut images, mut at) = (Vec::new(), 0, HashSet::new(), 0);
    while at < bytes.len() {
        if frames.len() == frames_max {
            let what = "number of one request's frames";
            return Err(Refused::TooLarge { what, limit: frames_max as u64 });
        }
        let cut = Refused::Protocol {
            wanted: "the body is u32 little-endian lengths, each with its frame behind it",
        };
        let Some(length) = bytes[at..].first_chunk::<4>() else { return Err(cut) };
        let end = (at + 4).checked_add(u32::from_le_bytes(*length) as usize);
        let Some(end) = end.filter(|end| *end <= bytes.len()) else { return Err(cut) };
        let frame = bytes.slice(at + 4..end);
        let parsed = parse(&frame)?;
        if parsed.header.session != DIRECT {
            return Err(Refused::field("session", "must be all zeros in a frame that is imported"));
        }
        for (number, block) in &parsed.blocks {
            if *number as usize >= inner.channels.len() {
                return Err(Refused::UnboundChannel { number: *number });
            }
            if matches!(block, Block::Dropped(_)) {
                return Err(Refused::Protocol {
                    wanted: "what was dropped is a number of the job, not of a frame",
                });
            }
            check_kind(&inner, *number, block)?;
            if let Block::Images(block) = block {
                images.extend(block.entries().map(|image| image.digest));
            }
            points += u64::from(block.count());
        }
        frames.push(frame.clone());
        at = end;
    }
    Ok(Parsed { frames, points, images: images.into_iter().collect() })
}

impl Core {
    /// The cell of the job, which is made unless it is there.
    async fn import_records(&self, import: &ImportJob, now: Micros) -> Result<Arc<JobCell>, Refused> {
        let job = &import.job;
        let spec = check(import)?;
        // Until the job that names the snapshot is there.
        let using = self.life.begin_use().await;
        if let Some(snapshot) = &job.snapshot
            && !self.use_snapshot(&using, &job.project, snapshot, now).await?
        {
            return Err(Refused::UnknownSnapshot);
        }
        let project = self.registry.find_project(&job.project)?;
        let _one_of_uid = self.registry.creating(&job.uid).await;
        if let Some(first) = self.registry.find_uid(&job.uid) {
            let there = first.job();
            if self.store.find_appended(&job.uid, &imported_mark()).await?.is_none() {
                return Err(Refused::MadeHere { job: there.id.clone() });
            }
            if there.project == job.project
                && there.created_micros == job.created_micros
                && there.name == job.name
            {
                return Ok(first);
            }
            return Err(Refused::Taken {
                what: "job uid",
                by: format!("job {}, which is another", there.id),
            });
        }
        let _one_of_project = project.writing.lock().await;
        let old = project.record.lock().expect(LOCK).clone();
        let is_free = self.registry.find_job(&JobRef::Id(job.id.clone())).is_err();
        let number = if is_free { job.id.number } else { next_number(&old)? };
        let new =
            ProjectRecord { last_number: old.last_number.max(number), jobs: old.jobs + 1, ..old.clone() };
        let record = JobRecord {
            revision: 1,
            project: job.project.clone(),
            number,
            name: job.name.clone(),
            description: job.description.clone(),
            tags: checks::tags(job.tags.clone(), vec![], &[])?,
            created: job.created_micros,
            status: transition::record_from_status(&status_from_job(job)),
            arrived: Some(now),
        };
        let attempts: Vec<AttemptRecord> =
            import.attempts.iter().map(|attempt| record_from_attempt(&job.uid, attempt)).collect();
        let mut writes = Writes::new();
        writes.replace_project(&project.key, &old, &new);
        writes.create_numbered_job(&job.uid, &record, &spec, &job.properties);
        for (number, attempt) in (1..).zip(&attempts) {
            let number = AttemptNumber(number);
            let (_, hash) = attempt_token(&self.store, &job.uid, number, &attempt.claim);
            writes.create_attempt(&job.uid, number, attempt, &hash);
        }
        // Tells it from a job that was made here, whose points must not come a second time.
        writes.create_appended(&job.uid, &imported_mark(), &AppendedRecord { points: 0, asked: [0; 32] });
        if job.dropped_points > 0 {
            writes.put_dropped(&job.uid, &DroppedRecord { points: job.dropped_points });
        }
        self.store.commit(writes).await?;
        *project.record.lock().expect(LOCK) = new;
        let properties = job.properties.clone();
        let stored = StoredJob { uid: job.uid, record, spec, properties, attempts, deleted: None };
        let cell = self.registry.add_job(stored, job.dropped_points);
        cell.made_now(now);
        self.registry.publish(&cell, |_, _, _| {});
        Ok(cell)
    }

    /// Makes channels with the numbers they had, and charts.
    async fn import_channels(&self, cell: &Arc<JobCell>, import: &ImportJob) -> Result<(), Refused> {
        let heads = cell.heads(self).await?;
        let _one = heads.writing.lock().await;
        heads.check_current()?;
        let mut wanted = import.first_channel;
        for part in import.channels.chunks(NEW_CHANNELS) {
            let mut new = NewChannels::of(&heads);
            for create in part {
                let number = new.find_or_add(create.clone(), cell.job().created_micros)?;
                if number != wanted {
                    let by =
                        format!("number {number}, not {wanted}; the job was not imported from here alone");
                    return Err(Refused::Taken { what: "channel name", by });
                }
                wanted += 1;
            }
            let writes = new.writes(&heads.uid);
            if !writes.is_empty() {
                self.store.commit(writes).await?;
                new.add_to_heads();
            }
        }
        drop(_one);
        for chart in &import.charts {
            self.create_chart(cell, chart.clone()).await?;
        }
        Ok(())
    }
}

/// Refuses what no job can be; answers the part of it that never changes.
fn check(import: &ImportJob) -> Result<JobSpec, Refused> {
    let job = &import.job;
    if job.id.project != job.project || !(1..=JOB_NUMBER_MAX).contains(&job.id.number) {
        let wanted = format!("must be of the job's project, with a number from 1 to {JOB_NUMBER_MAX}");
        return Err(Refused::field("job.id", wanted));
    }
    let create = CreateJob {
        uid: Some(job.uid),
        project: job.project.clone(),
        name: job.name.clone(),
        description: job.description.clone(),
        params: job.params.clone(),
        tags: job.tags.clone(),
        properties: job.properties.clone(),
        snapshot: job.snapshot,
        command: job.command.clone(),
        environment: job.environment.clone(),
        metric: job.metric.clone(),
        created_micros: Some(job.created_micros),
    };
    checks::create(&create)?;
    checks::text_bytes("job.reason", job.reason.as_deref(), crate::jobs::REASON_BYTES)?;
    if import.attempts.len() > ATTEMPTS {
        return Err(Refused::TooLarge {
            what: "number of attempts of an imported job",
            limit: ATTEMPTS as u64,
        });
    }
    let last = job.attempt.map_or(0, |attempt| attempt.0 as usize);
    let numbered =
        (1..).zip(&import.attempts).all(|(number, attempt)| attempt.attempt == AttemptNumber(number));
    if last != import.attempts.len() || !numbered {
        return Err(Refused::field("attempts", "must be all attempts of the job, from 1"));
    }
    for attempt in &import.attempts {
        let reason = attempt.exit.as_ref().and_then(|exit| exit.reason.as_deref());
        checks::text_bytes("attempts.exit.reason", reason, crate::jobs::REASON_BYTES)?;
        checks::text_bytes("attempts.host", attempt.host.as_deref(), neptune_wire::name::NAME_BYTES)?;
        checks::text_bytes("attempts.executor", Some(&attempt.executor), neptune_wire::name::NAME_BYTES)?;
    }
    let CreateJob { params, command, environment, metric, snapshot, .. } = create;
    let spec = JobSpec { params, command, environment, metric, snapshot };
    checks::spec(&spec)?;
    Ok(spec)
}

/// Under what an imported job says that it is one; no key of a request is like it.
fn imported_mark() -> Digest {
    Digest::from_bytes(*blake3::hash(b"\0imported").as_bytes())
}

/// Where the job stands here.
fn status_from_job(job: &Job) -> Status {
    let (state, reason) = match job.state {
        JobState::Queued => (JobState::Created, job.reason.clone()),
        state if state.is_live() => (JobState::Lost, Some("ran when it was exported".to_owned())),
        state => (state, job.reason.clone()),
    };
    Status {
        state,
        attempt: job.attempt,
        silent_since: None,
        reason,
        exit_code: job.exit_code,
        started: job.started_micros,
        ended: job.ended_micros,
        abort: None,
    }
}

/// The attempt, with a claim that is always the same for it.
fn record_from_attempt(job: &JobUid, attempt: &Attempt) -> AttemptRecord {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"imported attempt").update(job.as_bytes()).update(&attempt.attempt.0.to_be_bytes());
    let hash = hasher.finalize();
    let claim = hash.as_bytes().first_chunk().expect("a hash has 32 bytes");
    AttemptRecord {
        claim: ClaimId::from_bytes(*claim),
        executor: attempt.executor.clone(),
        host: attempt.host.clone(),
        claimed: attempt.claimed_micros,
        exit: attempt.exit.clone(),
    }
}

#[cfg(test)]
mod tests;
