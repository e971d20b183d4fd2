//! Blobs that a removed job named, when somebody waits for the receipt: what nobody else needs or may be about to name goes
//! at once, record before bytes. Whether somebody does is found by looking for these blobs alone, and only until all of
//! them are found.

use std::collections::{BTreeMap, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use neptune_store::Writes;
use neptune_wire::life::{DeleteReceipt, Kept, KeptWhy, Unknown};
use neptune_wire::{Digest, Job, Micros, ProjectKey};

use super::uses::Leaver;
use crate::Refused;
use crate::engine::Core;
use crate::registry::{JobCell, LOCK};

/// Blobs a project lets go of in one commit: each is a condition and a change of at most a thousand.
const LET_GO: usize = 400;

/// Blobs that are looked for.
struct Wanted {
    left: HashSet<Digest>,
    found: Vec<Digest>,
}

impl Wanted {
    fn look_at(&mut self, digest: Digest) -> ControlFlow<()> {
        if self.left.remove(&digest) {
            self.found.push(digest);
        }
        if self.left.is_empty() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

impl Core {
    /// Removes what only a removed job named, and says what stays and why.
    pub(super) async fn remove_blobs_of(
        &self,
        cell: &Arc<JobCell>,
        job: &Job,
        images: HashSet<Digest>,
        now: Micros,
        receipt: &mut DeleteReceipt,
    ) -> Result<(), Refused> {
        if images.is_empty() && job.snapshot.is_none() {
            return Ok(());
        }
        let project = &job.project;
        // The collector looks at the same records.
        let _one = self.life.collecting.lock().await;
        let leaver = Leaver {
            job: job.uid,
            made: cell.made(),
            grace_begins: Micros(now.0.saturating_sub(self.life.times.grace_micros)),
            looked_after: self.life.uses_settled().await,
        };
        let mut wanted = Wanted { left: images, found: vec![] };
        let mut manifest = None;
        if let Some(snapshot) = job.snapshot {
            match self.find_files_of(project, snapshot).await? {
                Some(files) => wanted.left.extend(files),
                None => receipt.unknown.push(Unknown::Sources),
            }
            manifest = self.let_go_of_snapshot(project, snapshot, &leaver).await?.then_some(snapshot);
        }
        let is_known = self.look_for(project, &mut wanted).await?;
        let mut kept = BTreeMap::from([(KeptWhy::OtherJob, wanted.found)]);
        let mut gone: Vec<Digest> = wanted.left.into_iter().collect();
        if !is_known {
            receipt.unknown.push(Unknown::OtherJobs);
            gone.clear();
        } else if self.is_counted_on_unseen(project, &leaver, now) {
            kept.insert(KeptWhy::Upload, std::mem::take(&mut gone));
        }
        let gone = self.let_go_of_blobs(project, gone, &leaver, &mut kept).await?;
        for digest in gone.into_iter().chain(manifest) {
            match self.remove_bytes(&digest).await? {
                BytesRemoved::Removed(size_bytes) => {
                    receipt.removed.blobs += 1;
                    receipt.removed.blob_bytes += size_bytes;
                }
                BytesRemoved::Absent => {}
                BytesRemoved::Held => kept.entry(KeptWhy::OtherProject).or_default().push(digest),
                BytesRemoved::Copied => kept.entry(KeptWhy::Backup).or_default().push(digest),
            }
        }
        for (why, digests) in kept.into_iter().filter(|(_, digests)| !digests.is_empty()) {
            let mut sum = Kept { why, blobs: digests.len() as u64, blob_bytes: 0 };
            for digest in &digests {
                sum.blob_bytes += self.blobs.find_size(digest).await?.unwrap_or(0);
            }
            receipt.kept.push(sum);
        }
        Ok(())
    }

    /// Whether the snapshot's record went: no other job names it, and nobody was told that it is there.
    async fn let_go_of_snapshot(
        &self,
        project: &ProjectKey,
        snapshot: Digest,
        leaver: &Leaver,
    ) -> Result<bool, Refused> {
        let names_it = |cell: &Arc<JobCell>| cell.job().snapshot == Some(snapshot);
        if self.registry.list_cells(project).iter().any(names_it) {
            return Ok(false);
        }
        // A job that is made after that look uses it first.
        let _alone = self.life.using.write().await;
        if self.life.uses.lock().expect(LOCK).outlasts(project, &snapshot, leaver) {
            return Ok(false);
        }
        let Some(held) = self.store.find_snapshot(project, &snapshot).await? else { return Ok(false) };
        let mut writes = Writes::new();
        writes.delete_snapshot(project, &held);
        self.store.commit(writes).await?;
        Ok(true)
    }

    /// Looks for blobs among files of the project's snapshots, then among images of its jobs. Answers whether those that are
    /// left are of none; not, where one of them cannot be read.
    async fn look_for(&self, project: &ProjectKey, wanted: &mut Wanted) -> Result<bool, Refused> {
        for held in self.store.read_snapshots(project).await? {
            if wanted.left.is_empty() {
                return Ok(true);
            }
            let Some(files) = self.find_files_of(project, held.digest).await? else { return Ok(false) };
            for file in files {
                let _ = wanted.look_at(file);
            }
        }
        for cell in self.registry.list_cells(project) {
            if wanted.left.is_empty() {
                return Ok(true);
            }
            self.check_running()?;
            if !self.find_images(&cell, &mut |digest| wanted.look_at(digest)).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether an attempt of another job may count on a file because a process before this one told it that it is there:
    /// those uses are not remembered. One whose program has ended sends what it left by asking anew.
    fn is_counted_on_unseen(&self, project: &ProjectKey, leaver: &Leaver, now: Micros) -> bool {
        let began = self.life.begin(now);
        began >= leaver.grace_begins
            && self
                .registry
                .list_cells(project)
                .iter()
                .any(|cell| cell.made().is_none() && cell.may_send(leaver.grace_begins))
    }

    /// Lets go of the records of blobs, unless somebody was told of them; answers those whose bytes may go.
    async fn let_go_of_blobs(
        &self,
        project: &ProjectKey,
        digests: Vec<Digest>,
        leaver: &Leaver,
        kept: &mut BTreeMap<KeptWhy, Vec<Digest>>,
    ) -> Result<Vec<Digest>, Refused> {
        let mut gone = Vec::with_capacity(digests.len());
        for part in digests.chunks(LET_GO) {
            let _alone = self.life.using.write().await;
            let (used, free): (Vec<Digest>, Vec<Digest>) = {
                let uses = self.life.uses.lock().expect(LOCK);
                part.iter().copied().partition(|digest| uses.outlasts(project, digest, leaver))
            };
            kept.entry(KeptWhy::Upload).or_default().extend(used);
            let mut writes = Writes::new();
            for held in self.store.find_project_blobs(project, &free).await?.iter().flatten() {
                writes.delete_project_blob(project, held);
            }
            if !writes.is_empty() {
                self.store.commit(writes).await?;
            }
            gone.extend(free);
        }
        Ok(gone)
    }

    /// Removes the bytes of a digest that no project holds any more.
    pub(super) async fn remove_bytes(&self, digest: &Digest) -> Result<BytesRemoved, Refused> {
        let Ok(_not_copied) = self.life.copying.try_write() else { return Ok(BytesRemoved::Copied) };
        let _kept = self.life.keep_bytes(digest).await;
        let projects: Vec<_> = self.registry.list_projects().iter().map(|cell| cell.key.clone()).collect();
        if self.store.is_held(&projects, digest).await? {
            return Ok(BytesRemoved::Held);
        }
        let Some(size_bytes) = self.blobs.find_size(digest).await? else { return Ok(BytesRemoved::Absent) };
        self.blobs.delete(digest).await?;
        self.counters.removed_blobs.fetch_add(1, Ordering::Relaxed);
        self.counters.freed_bytes.fetch_add(size_bytes, Ordering::Relaxed);
        Ok(BytesRemoved::Removed(size_bytes))
    }
}

/// What became of a blob's bytes.
pub(super) enum BytesRemoved {
    /// They are gone; so many.
    Removed(u64),
    /// There were none.
    Absent,
    /// Some project holds them.
    Held,
    /// Somebody copies all blobs now.
    Copied,
}
