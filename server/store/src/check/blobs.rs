//! Blobs: what jobs name against what their projects hold, and that against the bytes that lie there.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use futures::StreamExt as _;
use neptune_wire::snapshot::Manifest;
use neptune_wire::{Digest, JobUid, ProjectKey};

use super::{Checked, Damage};
use crate::blob::{BlobError, Blobs};

/// Longest list of files that is read: longer ones were never taken.
const MANIFEST_BYTES: u64 = 64 << 20;

type Tell<'a> = dyn FnMut(Damage) + Send + 'a;

/// What was read of blobs and of what names them so far.
#[derive(Default)]
pub(super) struct BlobCheck {
    projects: Vec<Project>,
    numbers: BTreeMap<ProjectKey, u32>,
    /// The project of each job, by number.
    jobs: HashMap<JobUid, u32>,
    /// Snapshots that jobs name.
    named: Vec<(JobUid, Digest)>,
    /// Images that are told to be missing, by project; each is told once.
    told: BTreeSet<(u32, Digest)>,
}

struct Project {
    key: ProjectKey,
    blobs: BTreeSet<Digest>,
    snapshots: BTreeSet<Digest>,
}

impl BlobCheck {
    pub(super) fn add_job(&mut self, job: JobUid, project: &ProjectKey) {
        let number = self.number(project);
        self.jobs.insert(job, number);
    }

    /// A job names a snapshot.
    pub(super) fn add_named(&mut self, job: JobUid, snapshot: Digest) {
        self.named.push((job, snapshot));
    }

    /// A project holds a blob.
    pub(super) fn add_held(&mut self, project: &ProjectKey, digest: Digest, is_snapshot: bool) {
        let number = self.number(project);
        let project = &mut self.projects[number as usize];
        if is_snapshot { &mut project.snapshots } else { &mut project.blobs }.insert(digest);
    }

    fn number(&mut self, project: &ProjectKey) -> u32 {
        if let Some(number) = self.numbers.get(project) {
            return *number;
        }
        let number = self.projects.len() as u32;
        self.projects.push(Project {
            key: project.clone(),
            blobs: BTreeSet::new(),
            snapshots: BTreeSet::new(),
        });
        self.numbers.insert(project.clone(), number);
        number
    }

    /// Looks for the snapshots that jobs name, and for the files of all that are held, named or not: one that is there says
    /// that its files are. Of jobs that are being removed anything may be gone.
    pub(super) async fn compare_snapshots(
        &mut self,
        blobs: &Blobs,
        removing: &BTreeSet<JobUid>,
        tell: &mut Tell<'_>,
    ) {
        for (job, snapshot) in std::mem::take(&mut self.named) {
            let Some(number) = self.jobs.get(&job).filter(|_| !removing.contains(&job)) else { continue };
            let project = &self.projects[*number as usize];
            if !project.snapshots.contains(&snapshot) {
                tell(Damage::NoSnapshot { job, project: project.key.clone(), snapshot });
            }
        }
        for project in &self.projects {
            for snapshot in &project.snapshots {
                compare_files(project, snapshot, blobs, tell).await;
            }
        }
    }

    /// Looks for an image that a job names.
    pub(super) fn compare_image(&mut self, job: JobUid, digest: Digest, tell: &mut Tell<'_>) {
        let Some(number) = self.jobs.get(&job) else { return };
        let project = &self.projects[*number as usize];
        if !project.blobs.contains(&digest) && self.told.insert((*number, digest)) {
            tell(Damage::NoImage { job, project: project.key.clone(), digest });
        }
    }

    /// Reads the bytes of all that is held, and counts what lies beside them.
    pub(super) async fn read_bytes(self, blobs: &Blobs, checked: &mut Checked, tell: &mut Tell<'_>) {
        let mut held = BTreeSet::new();
        for project in self.projects {
            held.extend(project.blobs);
            held.extend(project.snapshots);
        }
        for &digest in &held {
            checked.blobs += 1;
            match hash_blob(blobs, &digest).await {
                Ok(Some((found, size_bytes))) => {
                    checked.blob_bytes += size_bytes;
                    if found != digest {
                        tell(Damage::Blob { digest, found });
                    }
                }
                Ok(None) => tell(Damage::NoBlob { digest }),
                Err(source) => tell(Damage::UnreadableBlob { digest, source }),
            }
        }
        read_leftovers(blobs, &held, checked, tell).await;
    }
}

/// Compares the files of a snapshot with what its project holds. What is wrong with its bytes is told where they are read.
async fn compare_files(project: &Project, snapshot: &Digest, blobs: &Blobs, tell: &mut Tell<'_>) {
    let Ok(Some(bytes)) = blobs.find_whole(snapshot, MANIFEST_BYTES).await else { return };
    if Digest::from_bytes(*blake3::hash(&bytes).as_bytes()) != *snapshot {
        return;
    }
    let Some(manifest) = Manifest::from_canonical_json(&bytes) else {
        return tell(Damage::NoManifest { project: project.key.clone(), snapshot: *snapshot });
    };
    for file in manifest.files {
        if !project.blobs.contains(&file.digest) {
            tell(Damage::NoFile {
                project: project.key.clone(),
                snapshot: *snapshot,
                path: file.path,
                digest: file.digest,
            });
        }
    }
}

/// Counts what no project holds; that is no damage, and a folder that cannot be listed is told.
async fn read_leftovers(blobs: &Blobs, held: &BTreeSet<Digest>, checked: &mut Checked, tell: &mut Tell<'_>) {
    let mut count = |size_bytes| {
        checked.leftovers += 1;
        checked.leftover_bytes += size_bytes;
    };
    let mut listed = blobs.list();
    while let Some(blob) = listed.next().await {
        match blob {
            Ok(blob) if held.contains(&blob.digest) => {}
            Ok(blob) => count(blob.size_bytes),
            Err(source) => return tell(Damage::UnlistedBlobs { source }),
        }
    }
    match blobs.list_leftovers().await {
        Ok(leftovers) => leftovers.iter().for_each(|leftover| count(leftover.size_bytes)),
        Err(source) => tell(Damage::UnlistedBlobs { source }),
    }
}

/// Digest and length of a blob's bytes; `None` when there are none.
async fn hash_blob(blobs: &Blobs, digest: &Digest) -> Result<Option<(Digest, u64)>, BlobError> {
    let Some(mut blob) = blobs.find(digest).await? else { return Ok(None) };
    let mut hasher = blake3::Hasher::new();
    while let Some(piece) = blob.bytes.next().await {
        hasher.update(&piece.map_err(BlobError::Source)?);
    }
    Ok(Some((Digest::from_bytes(*hasher.finalize().as_bytes()), hasher.count())))
}
