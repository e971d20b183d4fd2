//! Source snapshots: manifests over blobs; tree, files and differences.
//!
//! A manifest is itself a blob, under the snapshot's digest; a project's record of it is written once all its files'
//! blobs are there, so a snapshot that can be named can be read.

mod diff;

use std::collections::HashSet;
use std::time::Duration;

use bytes::Bytes;
use neptune_store::blob::{blob_from_bytes, digest_from_bytes};
use neptune_store::{BlobError, Writes};
use neptune_wire::snapshot::{File, FileDiff, Manifest, Snapshot, SnapshotDiff, SnapshotReceipt};
use neptune_wire::{Digest, JobRef, Micros, ProjectKey};
use tokio::time::Instant;

use crate::blobs::{BlobRead, missing};
use crate::engine::Core;
use crate::life::{User, Using};
use crate::{Engine, Grant, Refused};

/// Files of one snapshot.
pub(crate) const SNAPSHOT_FILES: usize = 100_000;
/// Bytes of a manifest for each file, besides its path.
const FILE_BYTES: usize = 120;
/// Bytes of a manifest that are worked on in place, for about a millisecond; longer ones go to a thread that may block.
const INLINE_BYTES: usize = 64 << 10;
/// What one answer shows line by line. Both sides of each file and its diff are counted, so the bytes bound memory, too.
const DIFF_BOUNDS: DiffBounds =
    DiffBounds { files: 1_000, size_bytes: 32 << 20, time: Duration::from_secs(10) };

/// After any of these, changed files are only named.
#[derive(Debug, Clone, Copy)]
struct DiffBounds {
    files: usize,
    size_bytes: usize,
    time: Duration,
}

/// One file of a snapshot being read.
pub struct SnapshotFile {
    /// Path, digest, size, mode.
    pub file: File,
    /// Its bytes.
    pub bytes: BlobRead,
}

impl Engine {
    /// Longest manifest, as it comes and as it is stored: 100,000 files with paths of 200 bytes.
    pub const MANIFEST_BYTES: u64 = 32 << 20;

    /// Registers a manifest and answers which blobs the project still lacks; with none missing, jobs may name it. Bytes that
    /// are gone are lacked too: the manifest's own are stored again.
    ///
    /// Cost: besides the manifest, a look for each file ([`neptune_store::Blobs::are_there`]).
    ///
    /// # Errors
    ///
    /// [`Refused::Field`] for a path or order that is wrong, [`Refused::TooLarge`] for too many files or bytes.
    pub async fn create_snapshot(
        &self,
        grant: &Grant,
        project: &ProjectKey,
        manifest: Manifest,
        now: Micros,
    ) -> Result<SnapshotReceipt, Refused> {
        self.may_use_project(grant, project)?;
        if manifest.files.len() > SNAPSHOT_FILES {
            return Err(Refused::TooLarge { what: "number of files", limit: SNAPSHOT_FILES as u64 });
        }
        let size_bytes = manifest.files.iter().map(|file| FILE_BYTES + file.path.len()).sum();
        let (manifest, json, snapshot) = beside(size_bytes, move || {
            manifest
                .check()
                .map_err(|error| Refused::Field { field: "files".into(), wanted: error.to_string() })?;
            let json = manifest.canonical_json();
            if json.len() as u64 > Self::MANIFEST_BYTES {
                let what = "size of the manifest in bytes";
                return Err(Refused::TooLarge { what, limit: Self::MANIFEST_BYTES });
            }
            let snapshot = digest_from_bytes(&json);
            Ok((manifest, json, snapshot))
        })
        .await?;
        // Until the snapshot stands for its files.
        let using = self.core.life.begin_use().await;
        let is_held = self.core.use_snapshot(&using, project, &snapshot, now).await?;
        if is_held && self.has_stored(&snapshot, &json).await {
            // Its files are held as long as it is; of some the bytes may be gone.
            let named = files_of(&manifest);
            let there = self.blobs().are_there(&named).await?;
            return Ok(SnapshotReceipt { snapshot, missing: absent(named, there) });
        }
        let missing = self.missing_blobs(&using, project, &manifest, now).await?;
        if missing.is_empty() {
            let _kept = self.core.life.keep_bytes(&snapshot).await;
            self.blobs().put(&snapshot, blob_from_bytes(json), Self::MANIFEST_BYTES).await?;
            let mut writes = Writes::new();
            writes.put_snapshot(project, &snapshot);
            self.store().commit(writes).await?;
        }
        Ok(SnapshotReceipt { snapshot, missing })
    }

    async fn missing_blobs(
        &self,
        using: &Using<'_>,
        project: &ProjectKey,
        manifest: &Manifest,
        now: Micros,
    ) -> Result<Vec<Digest>, Refused> {
        let named = files_of(manifest);
        let there = self.core.use_blobs(using, project, &named, User::Operator, now).await?;
        Ok(absent(named, there))
    }

    /// Whether the bytes of a manifest are stored as they were. Whatever hinders reading them, they are written again.
    async fn has_stored(&self, snapshot: &Digest, json: &[u8]) -> bool {
        let stored = self.blobs().find_whole(snapshot, json.len() as u64).await;
        matches!(stored, Ok(Some(stored)) if stored == json)
    }

    /// The job's snapshot in figures.
    ///
    /// # Errors
    ///
    /// [`Refused::UnknownSnapshot`] when the job has none.
    pub async fn read_snapshot(&self, grant: &Grant, job: &JobRef) -> Result<Snapshot, Refused> {
        let (snapshot, manifest) = self.find_manifest(grant, job).await?;
        let size_bytes = manifest.files.iter().map(|file| file.size_bytes).sum();
        Ok(Snapshot { snapshot, files: manifest.files.len() as u64, size_bytes })
    }

    /// The job's source tree.
    ///
    /// # Errors
    ///
    /// [`Refused::UnknownSnapshot`] when the job has none.
    pub async fn read_manifest(&self, grant: &Grant, job: &JobRef) -> Result<Manifest, Refused> {
        Ok(self.find_manifest(grant, job).await?.1)
    }

    async fn find_manifest(&self, grant: &Grant, job: &JobRef) -> Result<(Digest, Manifest), Refused> {
        let cell = self.find_job(grant, job)?;
        let snapshot = cell.job().snapshot.ok_or(Refused::UnknownSnapshot)?;
        Ok((snapshot, cell.unless_gone(self.core.read_stored_manifest(snapshot).await)?))
    }

    /// One file of the job's source tree.
    ///
    /// # Errors
    ///
    /// [`Refused::UnknownSnapshot`], [`Refused::UnknownFile`].
    pub async fn open_snapshot_file(
        &self,
        grant: &Grant,
        job: &JobRef,
        path: &str,
    ) -> Result<SnapshotFile, Refused> {
        let cell = self.find_job(grant, job)?;
        let mut files = self.read_manifest(grant, job).await?.files;
        let index = files
            .binary_search_by(|file| file.path.as_str().cmp(path))
            .map_err(|_| Refused::UnknownFile { path: path.into() })?;
        let file = files.swap_remove(index);
        let bytes = cell.unless_gone(self.read_known_blob(&file.digest).await)?;
        Ok(SnapshotFile { file, bytes })
    }

    /// The bytes of a file that the job's manifest names, for whoever has read the manifest and wants many of its files.
    ///
    /// # Errors
    ///
    /// [`Refused::UnknownBlob`] for a file that is of no snapshot of the job's project.
    pub async fn open_manifest_file(
        &self,
        grant: &Grant,
        job: &JobRef,
        file: &File,
    ) -> Result<BlobRead, Refused> {
        let cell = self.find_job(grant, job)?;
        cell.unless_gone(self.open_blob(grant, &cell.id.project, &file.digest).await)
    }

    /// What changed from one job's tree to another's. Every changed file is named; so many are shown line by line as one
    /// answer holds and as are compared within 10 seconds.
    ///
    /// Cost: a thread while lines are compared, at most half a second for each file.
    ///
    /// # Errors
    ///
    /// [`Refused::UnknownSnapshot`] when either job has none.
    pub async fn diff_snapshots(
        &self,
        grant: &Grant,
        from: &JobRef,
        to: &JobRef,
    ) -> Result<SnapshotDiff, Refused> {
        let (from, to) = (self.read_manifest(grant, from).await?, self.read_manifest(grant, to).await?);
        self.diff_within(&from, &to, DIFF_BOUNDS).await
    }

    async fn diff_within(
        &self,
        from: &Manifest,
        to: &Manifest,
        bounds: DiffBounds,
    ) -> Result<SnapshotDiff, Refused> {
        let end = Instant::now() + bounds.time;
        let (mut files, mut size_bytes) = (Vec::new(), 0);
        for changed in diff::changed_files(from, to) {
            let is_full =
                files.len() >= bounds.files || size_bytes >= bounds.size_bytes || Instant::now() >= end;
            let unified = if is_full { None } else { self.unified(changed, &mut size_bytes).await? };
            files.push(FileDiff { path: changed.path().into(), change: changed.change(), unified });
        }
        Ok(SnapshotDiff { files })
    }

    /// A file's diff; what it took is added to `size_bytes`.
    async fn unified(
        &self,
        changed: diff::Changed<'_>,
        size_bytes: &mut usize,
    ) -> Result<Option<String>, Refused> {
        let mut sides = [Bytes::new(), Bytes::new()];
        for (side, file) in sides.iter_mut().zip([changed.from, changed.to]) {
            let Some(file) = file else { continue };
            if file.size_bytes > diff::DIFF_BYTES {
                return Ok(None);
            }
            let bytes = match self.blobs().find_whole(&file.digest, diff::DIFF_BYTES).await {
                // Longer than its manifest says.
                Err(BlobError::TooLarge { .. }) => return Ok(None),
                found => found?,
            };
            *side = bytes.ok_or_else(|| missing(&file.digest))?;
            *size_bytes += side.len();
        }
        let path = changed.path().to_owned();
        let [from, to] = sides;
        let comparing = tokio::task::spawn_blocking(move || diff::unified(&path, &from, &to));
        let unified = comparing.await.map_err(|broken| Refused::Storage(Box::new(broken)))?;
        *size_bytes += unified.as_ref().map_or(0, String::len);
        Ok(unified)
    }
}

/// The digests of a tree's files, each once.
fn files_of(manifest: &Manifest) -> Vec<Digest> {
    let mut seen = HashSet::new();
    manifest.files.iter().map(|file| file.digest).filter(|digest| seen.insert(*digest)).collect()
}

fn absent(named: Vec<Digest>, there: Vec<bool>) -> Vec<Digest> {
    named.into_iter().zip(there).filter(|(_, there)| !there).map(|(digest, _)| digest).collect()
}

impl Core {
    /// The manifest of a snapshot that a record stands for.
    pub(crate) async fn read_stored_manifest(&self, snapshot: Digest) -> Result<Manifest, Refused> {
        // Those that were stored when twice as much was allowed are still read.
        let limit = 2 * Engine::MANIFEST_BYTES;
        let json = self.blobs.find_whole(&snapshot, limit).await?.ok_or_else(|| missing(&snapshot))?;
        let size_bytes = json.len();
        let damaged = move || Refused::Storage(format!("snapshot {snapshot} is damaged").into());
        // A flipped digest would name another file, and let go of the one that is needed.
        let read = move || match digest_from_bytes(&json) == snapshot {
            true => Manifest::from_canonical_json(&json).ok_or_else(damaged),
            false => Err(damaged()),
        };
        beside(size_bytes, read).await
    }
}

/// Does work on a manifest of about so many bytes, in place when that is little, else where blocking does no harm.
async fn beside<T: Send + 'static>(
    size_bytes: usize,
    work: impl FnOnce() -> Result<T, Refused> + Send + 'static,
) -> Result<T, Refused> {
    if size_bytes <= INLINE_BYTES {
        return work();
    }
    tokio::task::spawn_blocking(work).await.map_err(|broken| Refused::Storage(Box::new(broken)))?
}

#[cfg(test)]
mod tests;
