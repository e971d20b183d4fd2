//! Source snapshots: manifests over blobs; tree, files and differences.

use neptune_wire::snapshot::{File, Manifest, Snapshot, SnapshotDiff, SnapshotReceipt};
use neptune_wire::{JobRef, Micros, ProjectKey};

use crate::{BlobRead, Engine, Grant, Refused};

/// One file of a snapshot being read.
pub struct SnapshotFile {
    /// Path, digest, size, mode.
    pub file: File,
    /// Its bytes.
    pub bytes: BlobRead,
}

impl Engine {
    /// Registers a manifest and answers which blobs the project still lacks.
    pub async fn create_snapshot(
        &self,
        _grant: &Grant,
        _project: &ProjectKey,
        _manifest: Manifest,
        _now: Micros,
    ) -> Result<SnapshotReceipt, Refused> {
        todo!("snapshots")
    }

    /// The job's snapshot in figures.
    pub async fn read_snapshot(&self, _grant: &Grant, _job: &JobRef) -> Result<Snapshot, Refused> {
        todo!("snapshots")
    }

    /// The job's source tree.
    pub async fn read_manifest(&self, _grant: &Grant, _job: &JobRef) -> Result<Manifest, Refused> {
        todo!("snapshots")
    }

    /// One file of it.
    pub async fn open_snapshot_file(
        &self,
        _grant: &Grant,
        _job: &JobRef,
        _path: &str,
    ) -> Result<SnapshotFile, Refused> {
        todo!("snapshots")
    }

    /// What changed from one job's tree to another's.
    pub async fn diff_snapshots(
        &self,
        _grant: &Grant,
        _from: &JobRef,
        _to: &JobRef,
    ) -> Result<SnapshotDiff, Refused> {
        todo!("snapshots")
    }
}
