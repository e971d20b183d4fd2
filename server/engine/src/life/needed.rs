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
#[derive(Debug, Default)]
pub(super) struct Named {
    pub(super) snapshots: HashSet<Digest>,
    pub(super) images: HashSet<Digest>,
}

impl Core {
    /// What all jobs of a project name.
    pub(super) async fn read_named(&self, project: &ProjectKey) -> Result<Named, Refused> {
        let mut named = Named::default();
        for cell in self.registry.list_cells(project) {
            self.check_running()?;
            named.snapshots.extend(cell.job().snapshot);
            match self.read_images_of(&cell).await {
                Ok(images) => named.images.extend(images),
                // It was removed meanwhile, so it names nothing any more.
                Err(Refused::JobGone { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(named)
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

    /// The files of all snapshots that a project holds.
    pub(super) async fn read_files_held(&self, project: &ProjectKey) -> Result<HashSet<Digest>, Refused> {
        let held = self.store.read_snapshots(project).await?;
        let snapshots: Vec<Digest> = held.iter().map(|held| held.digest).collect();
        self.read_files_of(&snapshots).await
    }

    /// The files of snapshots.
    pub(super) async fn read_files_of(&self, snapshots: &[Digest]) -> Result<HashSet<Digest>, Refused> {
        let mut files = HashSet::new();
        for snapshot in snapshots {
            self.check_running()?;
            files.extend(self.read_stored_manifest(*snapshot).await?.files.iter().map(|file| file.digest));
        }
        Ok(files)
    }
}
