//! Where the table gets the summaries of stored jobs from, at a start, and of jobs that it came to lack something of.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use neptune_store::{ChannelState, Store, StoreError};
use neptune_wire::JobUid;

use super::rows::MetricCells;
use crate::Refused;
use crate::engine::Core;
use crate::registry::JobCell;

/// Jobs that could not be read are tried again so often.
const AGAIN_AFTER: Duration = Duration::from_secs(60);

/// The summaries of a job's numeric channels, as far as they are sealed.
async fn read_metrics(store: &Store, uid: JobUid) -> Result<Vec<(Box<str>, MetricCells)>, Refused> {
    let states = store.read_channel_states(&uid).await?;
    let tables = store.read_job_tables(&uid).await?;
    let metrics =
        (0..).zip(tables.channels).filter_map(|(number, channel)| match &states.get(&number)?.state {
            ChannelState::Numeric(state) => {
                Some((channel.name.as_str().into(), MetricCells::from(&state.running.summary())))
            }
            _ => None,
        });
    Ok(metrics.collect())
}

impl Core {
    /// Takes what was saved into the table, before anything else is; what is still to be read is noted there.
    pub(crate) async fn begin_table(&self) -> Result<(), StoreError> {
        let seals = self.store.read_seals().await?;
        let seals: HashMap<JobUid, u64> = seals.into_iter().map(|(uid, seal)| (uid, seal.commits)).collect();
        let taken = self.load_saved_table(&seals).await?;
        let mut rows = self.registry.table.write();
        for uid in seals.keys().filter(|uid| !taken.contains(uid)) {
            rows.note_unread(uid);
        }
        Ok(())
    }

    /// Reads what the table lacks until the engine stops. Questions about metrics wait for the first time it was through.
    pub(crate) async fn fill_table(self: Arc<Self>) {
        let mut stopping = self.stopping.subscribe();
        let work = async {
            let mut through = false;
            let mut told = 0;
            loop {
                let lacking = self.read_unread(&mut through).await;
                if lacking == 0 && told > 0 {
                    tracing::info!("the job table has the metrics of all jobs again");
                }
                told = lacking;
                // Nobody is kept waiting for what does not come.
                self.registry.table.fill();
                if lacking == 0 && through {
                    self.registry.table.lacks.notified().await;
                } else {
                    tokio::time::sleep(AGAIN_AFTER).await;
                }
            }
        };
        tokio::select! {
            biased;
            _ = stopping.wait_for(|stopping| *stopping) => {}
            () = work => {}
        }
    }

    /// Goes once through the jobs that the table lacks something of; `through`: whether those were all read once that had
    /// frames at the start. Answers of how many jobs it still lacks something.
    pub(crate) async fn read_unread(&self, through: &mut bool) -> u64 {
        let table = &self.registry.table;
        let unread: Vec<JobUid> = table.read().unread().iter().copied().collect();
        let mut fault = None;
        for uid in unread {
            let Some(cell) = self.registry.find_uid(&uid) else {
                // It is being removed, or was before the start.
                table.write().note_read(&uid);
                continue;
            };
            // One that cannot be read hides none of the others.
            if let Err(error) = self.read_job_metrics(&cell).await {
                fault.get_or_insert((uid, error));
            }
        }
        if !*through {
            self.read_leftovers().await;
            *through = true;
        }
        let lacking = table.count_unread();
        if let Some((job, error)) = fault {
            tracing::error!(
                jobs = lacking, %job, error = &error as &dyn std::error::Error,
                "metrics of some jobs, this one among them, cannot be read; lists of jobs lack them until they can"
            );
        }
        lacking
    }

    async fn read_job_metrics(&self, cell: &Arc<JobCell>) -> Result<(), Refused> {
        if !cell.was_loaded.load(Ordering::Acquire) {
            let metrics = read_metrics(&self.store, cell.uid).await?;
            if self.registry.table.take_stored(cell, &metrics) {
                return Ok(());
            }
        }
        self.tell_metrics(cell).await
    }

    /// Has a job tell its metrics itself.
    async fn tell_metrics(&self, cell: &Arc<JobCell>) -> Result<(), Refused> {
        match cell.heads(self).await {
            Ok(_) => self.registry.table.take_in_job(cell),
            // It is being removed, and will be out of the table.
            Err(Refused::JobGone { .. }) => {}
            Err(refused) => return Err(refused),
        }
        Ok(())
    }

    /// What was not sealed is known by the heads. The sealer has them in memory one after the other; what it has not gone
    /// through is read here.
    async fn read_leftovers(&self) {
        let mut leftovers = self.registry.table.leftovers.subscribe();
        let gone_through =
            leftovers.wait_for(|leftovers| leftovers.is_some()).await.is_ok_and(|all| *all == Some(true));
        if gone_through {
            return;
        }
        for uid in self.list_jobs_with_frames().await {
            let Some(cell) = self.registry.find_uid(&uid) else { continue };
            if let Err(error) = self.tell_metrics(&cell).await {
                tracing::error!(
                    job = %uid, %error,
                    "a job's newest points cannot be read; lists of jobs lack them until they can"
                );
                self.registry.table.note_unread(&cell);
            }
        }
    }
}
