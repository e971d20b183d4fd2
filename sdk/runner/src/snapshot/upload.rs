//! Sending what the server does not have.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use futures::stream::{self, StreamExt};
use neptune_client::rest::{BlobSource, Rest, RestError, digest_bytes};
use neptune_wire::problem::Code;
use neptune_wire::snapshot::Mode;
use neptune_wire::{Digest, ProjectKey};

use super::scan::digest;
use super::{Tree, read_content};

/// Blobs on their way at once.
const UPLOADS: usize = 4;
/// Rounds of posting the manifest. The second finds everything unless files changed; each change costs one more.
const ROUNDS: usize = 5;
/// A file that changes is read into memory, where it holds still, up to this size.
const HELD_BYTES: u64 = 64 << 20;

/// Why a snapshot did not reach the server.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// The server's answer, or none.
    #[error(transparent)]
    Rest(#[from] RestError),
    /// A file changes faster than it can be sent.
    #[error("{} keeps changing while it is read; leave it out with --exclude, or stop what writes it", .0.display())]
    Changing(PathBuf),
}

/// How far an upload is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UploadProgress {
    /// Bytes sent of this round.
    pub sent_bytes: u64,
    /// Bytes to send in this round.
    pub total_bytes: u64,
}

impl Tree {
    /// Uploads what the project does not have and answers the snapshot's digest.
    ///
    /// A file that changed since it was hashed is hashed again, and the manifest follows.
    ///
    /// # Errors
    ///
    /// [`UploadError`]
    pub async fn upload(
        &mut self,
        rest: &Rest,
        project: &ProjectKey,
        progress: &mut dyn FnMut(UploadProgress),
    ) -> Result<Digest, UploadError> {
        let mut held: HashMap<Digest, BlobSource> = HashMap::new();
        let mut changed = None;
        for _ in 0..ROUNDS {
            let receipt = rest.create_snapshot(project, &self.manifest).await?;
            if receipt.missing.is_empty() {
                return Ok(receipt.snapshot);
            }
            let mut round = UploadProgress { sent_bytes: 0, total_bytes: self.bytes_of(&receipt.missing) };
            progress(round);
            let by_digest: HashMap<_, _> =
                self.manifest.files.iter().enumerate().map(|(index, file)| (file.digest, index)).collect();
            let uploads: Vec<_> = receipt
                .missing
                .iter()
                .filter_map(|digest| by_digest.get(digest).map(|index| (*index, *digest)))
                .map(|(index, digest)| {
                    let file = &self.manifest.files[index];
                    let source = held.get(&digest).cloned();
                    let path = self.path_of(file);
                    let (mode, size) = (file.mode, file.size_bytes);
                    async move { (index, size, send(rest, project, (digest, mode), &path, source).await) }
                })
                .collect();
            let mut sending = stream::iter(uploads).buffer_unordered(UPLOADS);
            let mut outdated = Vec::new();
            while let Some((index, size_bytes, sent)) = sending.next().await {
                match sent {
                    Ok(Sent::Whole) => {}
                    Ok(Sent::Changed) => outdated.push(index),
                    Err(error) => return Err(error.into()),
                }
                round.sent_bytes += size_bytes;
                progress(round);
            }
            drop(sending);
            changed = outdated.first().map(|index| self.path_of(&self.manifest.files[*index]));
            self.hash_again(outdated, Some(&mut held));
        }
        Err(UploadError::Changing(changed.unwrap_or_else(|| self.root.clone())))
    }

    /// The bytes of one file, if they still are what they were hashed for; a large one is named by its path.
    pub(crate) fn read_checked(&self, wanted: Digest) -> Option<BlobSource> {
        let file = self.manifest.files.iter().find(|file| file.digest == wanted)?;
        let path = self.path_of(file);
        if file.size_bytes > HELD_BYTES {
            return (!is_changed(&path, wanted, file.mode)).then_some(BlobSource::File(path));
        }
        let content = read_content(&path, file.mode).ok()?;
        (digest_bytes(&content) == wanted).then(|| BlobSource::Bytes(content.into()))
    }

    /// Hashes every file again, after some of them changed.
    pub(crate) fn scan_again(&mut self) {
        self.hash_again((0..self.manifest.files.len()).collect(), None);
    }

    fn bytes_of(&self, digests: &[Digest]) -> u64 {
        let sizes: HashMap<_, _> =
            self.manifest.files.iter().map(|file| (file.digest, file.size_bytes)).collect();
        digests.iter().filter_map(|digest| sizes.get(digest)).sum()
    }

    /// Gives files that changed the digest of what they hold now, and keeps that in `held` where memory allows.
    fn hash_again(&mut self, outdated: Vec<usize>, mut held: Option<&mut HashMap<Digest, BlobSource>>) {
        let mut deleted = Vec::new();
        for index in outdated {
            let path = self.path_of(&self.manifest.files[index]);
            let file = &mut self.manifest.files[index];
            let small = path.symlink_metadata().is_ok_and(|metadata| metadata.len() <= HELD_BYTES);
            let hashed = if let (true, Some(held)) = (small, held.as_deref_mut()) {
                read_content(&path, file.mode).map(|content| {
                    let digest = digest_bytes(&content);
                    let size_bytes = content.len() as u64;
                    held.insert(digest, BlobSource::Bytes(content.into()));
                    (digest, size_bytes)
                })
            } else {
                digest(&path, file.mode)
            };
            match hashed {
                Ok((digest, size_bytes)) => (file.digest, file.size_bytes) = (digest, size_bytes),
                Err(error) => {
                    self.notes.push(format!("{}: {error}; left out of the snapshot", path.display()));
                    deleted.push(self.manifest.files[index].path.clone());
                }
            }
        }
        self.manifest.files.retain(|file| !deleted.contains(&file.path));
    }
}

enum Sent {
    Whole,
    /// The file no longer holds what it was hashed for.
    Changed,
}

async fn send(
    rest: &Rest,
    project: &ProjectKey,
    (digest, mode): (Digest, Mode),
    path: &Path,
    held: Option<BlobSource>,
) -> Result<Sent, RestError> {
    let source = match (held, mode) {
        (Some(source), _) => source,
        (None, Mode::Link) => match read_content(path, mode) {
            Ok(target) => BlobSource::Bytes(target.into()),
            Err(_) => return Ok(Sent::Changed),
        },
        (None, Mode::File | Mode::Executable) => BlobSource::File(path.into()),
    };
    match rest.put_blob(project, digest, &source).await {
        Ok(()) => Ok(Sent::Whole),
        Err(RestError::File { .. }) => Ok(Sent::Changed),
        Err(error) if error.code() == Some(Code::DigestDiffers) => Ok(Sent::Changed),
        // A file that shrinks under the upload breaks the request; the network would not have.
        Err(RestError::Unreachable { .. }) if is_changed(path, digest, mode) => Ok(Sent::Changed),
        Err(error) => Err(error),
    }
}

fn is_changed(path: &Path, expected: Digest, mode: Mode) -> bool {
    digest(path, mode).map_or(true, |(digest, _)| digest != expected)
}
