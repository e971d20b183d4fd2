//! The collector: lets go of blobs that no job has named for the whole grace, then removes bytes that no project holds.
//!
//! A blob or snapshot that no job names is marked with the time; whoever uses it takes the mark back ([`super::uses`]); in
//! a later pass, when the grace has passed since an untouched mark, its record goes. Snapshots go before their files,
//! because a snapshot that is there says that its files are. Bytes go last, so that a crash leaves bytes without a record,
//! which the next pass finds, never a record without bytes.
//!
//! Where it cannot be read what a project needs, all its blobs stay, and the other projects go on.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use futures::StreamExt;
use neptune_store::{Held, UnneededRecord, WriteError, Writes};
use neptune_wire::life::Collected;
use neptune_wire::{Digest, Micros, ProjectKey};

use super::let_go::BytesRemoved;
use crate::engine::Core;
use crate::registry::LOCK;
use crate::{Engine, Grant, Refused};

/// What one commit changes: each blob is a condition and a change of at most a thousand.
const AT_ONCE: usize = 400;

/// What is to be done with a blob or snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Stays,
    Mark,
    Unmark,
    LetGo,
}

impl Engine {
    /// Lets the collector make one pass now.
    ///
    /// # Errors
    ///
    /// [`Refused::Forbidden`] for an attempt; what hinders the store.
    pub async fn collect(&self, grant: &Grant, now: Micros) -> Result<Collected, Refused> {
        grant.check_everything("collecting")?;
        let core = self.core.clone();
        self.core.finish(async move { core.collect(now).await }).await
    }
}

impl Core {
    /// One pass.
    pub(super) async fn collect(&self, now: Micros) -> Result<Collected, Refused> {
        let _one = self.life.collecting.lock().await;
        let mut collected = Collected::default();
        for project in self.registry.list_projects() {
            self.collect_project(&project.key, now, &mut collected).await?;
        }
        self.life.passed_over.store(collected.passed_over, Ordering::Relaxed);
        let grace = self.life.times.grace_micros;
        self.life.uses.lock().expect(LOCK).forget_before(Micros(now.0.saturating_sub(grace)));
        self.remove_files(now, &mut collected).await?;
        if collected.removed_files > 0 {
            let Collected { removed_files, freed_bytes, .. } = collected;
            tracing::info!(removed_files, freed_bytes, "removed blobs that no job names");
        }
        Ok(collected)
    }

    async fn collect_project(
        &self,
        project: &ProjectKey,
        now: Micros,
        collected: &mut Collected,
    ) -> Result<(), Refused> {
        // What somebody was told of before the marks that are looked at is named by now.
        self.life.uses_settled().await;
        let named = self.read_named(project).await?;
        let snapshots = self.store.read_snapshots(project).await?;
        self.judge(snapshots, &named.snapshots, now, collected, |writes, held, verdict| match verdict {
            Verdict::LetGo => writes.delete_snapshot(project, held),
            verdict => writes.replace_snapshot(project, held, mark(verdict, now)),
        })
        .await?;
        // What is still there protects its files, named by a job or not.
        let files = match &named.images {
            Some(_) => self.find_files_held(project).await?,
            None => None,
        };
        let (Some(mut needed), Some(images)) = (files, named.images) else {
            collected.passed_over += 1;
            return Ok(());
        };
        needed.extend(images);
        let blobs = self.store.read_project_blobs(project).await?;
        self.judge(blobs, &needed, now, collected, |writes, held, verdict| match verdict {
            Verdict::LetGo => writes.delete_project_blob(project, held),
            verdict => writes.replace_project_blob(project, held, mark(verdict, now)),
        })
        .await
    }

    /// Marks, unmarks and lets go. What changed since it was read stays as it is until the next pass.
    async fn judge(
        &self,
        held: Vec<Held>,
        needed: &HashSet<Digest>,
        now: Micros,
        collected: &mut Collected,
        write: impl Fn(&mut Writes, &Held, Verdict),
    ) -> Result<(), Refused> {
        let grace = self.life.times.grace_micros;
        let judged = held.into_iter().map(|held| (held, verdict(&held, needed, grace, now)));
        let judged: Vec<_> = judged.filter(|(_, verdict)| *verdict != Verdict::Stays).collect();
        for part in judged.chunks(AT_ONCE) {
            self.check_running()?;
            if self.write_judged(part, &write).await? {
                part.iter().for_each(|(_, verdict)| count(*verdict, collected));
                continue;
            }
            for one in part {
                if self.write_judged(std::slice::from_ref(one), &write).await? {
                    count(one.1, collected);
                }
            }
        }
        Ok(())
    }

    /// Whether nothing of it had changed, so that it was written.
    async fn write_judged(
        &self,
        judged: &[(Held, Verdict)],
        write: &impl Fn(&mut Writes, &Held, Verdict),
    ) -> Result<bool, Refused> {
        let mut writes = Writes::new();
        judged.iter().for_each(|(held, verdict)| write(&mut writes, held, *verdict));
        match self.store.commit(writes).await {
            Ok(()) => Ok(true),
            Err(WriteError::Conflict) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes bytes that no project holds, and parts of writes that nobody goes on with.
    async fn remove_files(&self, now: Micros, collected: &mut Collected) -> Result<(), Refused> {
        let held = self.read_all_held().await?;
        let mut listed = self.blobs.list();
        while let Some(blob) = listed.next().await {
            let blob = blob?;
            if held.contains(&blob.digest) {
                continue;
            }
            self.check_running()?;
            match self.remove_bytes(&blob.digest).await? {
                BytesRemoved::Removed(size_bytes) => {
                    collected.removed_files += 1;
                    collected.freed_bytes += size_bytes;
                }
                BytesRemoved::Absent | BytesRemoved::Held => {}
                BytesRemoved::Copied => return Ok(()),
            }
        }
        let grace = self.life.times.grace_micros;
        for leftover in self.blobs.list_leftovers().await? {
            if now.0.saturating_sub(leftover.modified.0) < grace {
                continue;
            }
            self.blobs.delete_leftover(&leftover)?;
            collected.removed_files += 1;
            collected.freed_bytes += leftover.size_bytes;
        }
        Ok(())
    }

    /// Everything that any project holds.
    async fn read_all_held(&self) -> Result<HashSet<Digest>, Refused> {
        let mut all = HashSet::new();
        for project in self.registry.list_projects() {
            all.extend(self.store.read_snapshots(&project.key).await?.iter().map(|held| held.digest));
            all.extend(self.store.read_project_blobs(&project.key).await?.iter().map(|held| held.digest));
        }
        Ok(all)
    }
}

fn verdict(held: &Held, needed: &HashSet<Digest>, grace: i64, now: Micros) -> Verdict {
    match held.unneeded {
        None if needed.contains(&held.digest) => Verdict::Stays,
        None => Verdict::Mark,
        Some(_) if needed.contains(&held.digest) => Verdict::Unmark,
        Some(UnneededRecord { since }) if now.0.saturating_sub(since.0) >= grace => Verdict::LetGo,
        Some(_) => Verdict::Stays,
    }
}

fn mark(verdict: Verdict, now: Micros) -> Option<UnneededRecord> {
    (verdict == Verdict::Mark).then_some(UnneededRecord { since: now })
}

fn count(verdict: Verdict, collected: &mut Collected) {
    match verdict {
        Verdict::Mark => collected.marked += 1,
        Verdict::LetGo => collected.forgotten += 1,
        Verdict::Unmark | Verdict::Stays => {}
    }
}
