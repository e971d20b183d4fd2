//! Which blobs a project needs: files of its snapshots, and images of its jobs, deleted but restorable ones among them.
//!
//! Cost: the manifest of every snapshot; for each job its channels, and for a job with images all it produced.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use neptune_wire::{ChannelKind, Digest, ProjectKey};

use crate::Refused;
use crate::engine::Core;
use crate::query::images;
use crate::registry::JobCell;

/// Images that are read at once.
const IMAGES: usize = 1_000;

/// What the jobs of a project name.
#[derive(Debug)]
pub(super) struct Named {
    pub(super) snapshots: HashSet<Digest>,
    /// `None` where those of one job cannot be read.
    pub(super) images: Option<HashSet<Digest>>,
}

impl Core {
    /// What all jobs of a project name.
    pub(super) async fn read_named(&self, project: &ProjectKey) -> Result<Named, Refused> {
        let mut named = Named { snapshots: HashSet::new(), images: Some(HashSet::new()) };
        for cell in self.registry.list_cells(project) {
            self.check_running()?;
            named.snapshots.extend(cell.job().snapshot);
            let Some(all) = &mut named.images else { continue };
            let mut add = |digest| {
                all.insert(digest);
                ControlFlow::Continue(())
            };
            if !self.find_images(&cell, &mut add).await? {
                named.images = None;
            }
        }
        Ok(named)
    }

    /// Shows the images that one of a project's jobs names; answers whether they could be read, and the log tells if not.
    pub(super) async fn find_images(
        &self,
        cell: &Arc<JobCell>,
        look_at: &mut (dyn FnMut(Digest) -> ControlFlow<()> + Send),
    ) -> Result<bool, Refused> {
        match self.look_at_images(cell, look_at).await {
            // It was removed meanwhile, so it names nothing any more.
            Ok(()) | Err(Refused::JobGone { .. }) => Ok(true),
            Err(damage @ Refused::Storage(_)) => {
                self.check_running()?;
                tracing::warn!(
                    job = %cell.id, cause = damage.cause(),
                    "a job cannot be read, so its project's files of sources and images stay; `neptune-server check` names \
                     what is damaged, and deleting the job lets the others go on"
                );
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// The images a job names. Memory that it takes is given back.
    pub(super) async fn read_images_of(&self, cell: &Arc<JobCell>) -> Result<HashSet<Digest>, Refused> {
        let mut digests = HashSet::new();
        let mut add = |digest| {
            digests.insert(digest);
            ControlFlow::Continue(())
        };
        self.look_at_images(cell, &mut add).await?;
        Ok(digests)
    }

    /// Shows the images a job names until the looker has seen enough.
    pub(super) async fn look_at_images(
        &self,
        cell: &Arc<JobCell>,
        look_at: &mut (dyn FnMut(Digest) -> ControlFlow<()> + Send),
    ) -> Result<(), Refused> {
        let was_loaded = cell.find_heads().is_some();
        if !was_loaded && !self.store.has_channel_of(&cell.uid, ChannelKind::Image).await? {
            return Ok(());
        }
        let heads = cell.heads(self).await?;
        let channels: Vec<u32> = {
            let inner = heads.lock();
            let is_image =
                |channel: &u32| inner.channels[*channel as usize].record.kind == ChannelKind::Image;
            (0..inner.channels.len() as u32).filter(is_image).collect()
        };
        'channels: for channel in channels {
            let mut index = 0;
            loop {
                let page = images::from(&self.store, &heads, channel, index, IMAGES).await;
                let page = cell.unless_gone(page)?;
                let Some(last) = page.last() else { break };
                index = last.index + 1;
                if page.iter().try_for_each(|image| look_at(image.digest)).is_break() {
                    break 'channels;
                }
            }
        }
        if !was_loaded {
            // Until they had their round they are kept for the sealer, which tries again whatever hinders this one.
            let _ = self.seal_job(&heads).await;
            // What it holds of metrics is told while it is there.
            self.registry.table.take_in_job(cell);
            cell.forget_unused(heads);
        }
        Ok(())
    }

    /// The files of all snapshots that a project holds; `None` where those of one cannot be read.
    pub(super) async fn find_files_held(
        &self,
        project: &ProjectKey,
    ) -> Result<Option<HashSet<Digest>>, Refused> {
        let mut all = HashSet::new();
        for held in self.store.read_snapshots(project).await? {
            let Some(files) = self.find_files_of(project, held.digest).await? else { return Ok(None) };
            all.extend(files);
        }
        Ok(Some(all))
    }

    /// The files of a snapshot; `None` where they cannot be read, which the log tells.
    pub(super) async fn find_files_of(
        &self,
        project: &ProjectKey,
        snapshot: Digest,
    ) -> Result<Option<Vec<Digest>>, Refused> {
        self.check_running()?;
        match self.read_stored_manifest(snapshot).await {
            Ok(manifest) => Ok(Some(manifest.files.iter().map(|file| file.digest).collect())),
            Err(error) => {
                tracing::warn!(
                    %project, %snapshot, cause = error.cause(),
                    "the list of a snapshot's files cannot be read, so the project's files of sources and images stay; \
                     run a program with the same sources, which stores it again, or delete the jobs that have it"
                );
                Ok(None)
            }
        }
    }
}
