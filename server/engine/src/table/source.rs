//! Where the table gets the summaries of stored jobs from, at a start.

use std::collections::HashMap;
use std::sync::Arc;

use neptune_store::{ChannelState, Store, StoreError};
use neptune_wire::JobUid;

use super::rows::MetricCells;
use crate::Refused;
use crate::engine::Core;

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
    /// Reads what is not in the table yet. Questions about metrics wait for its end.
    pub(crate) async fn fill_table(self: Arc<Self>, unread: Vec<JobUid>) {
        if let Err(error) = self.read_table(unread).await {
            tracing::error!(%error, "not all metrics can be read; the job table lacks them");
        }
        // Nobody is kept waiting for what does not come.
        self.registry.table.fill();
    }

    /// Takes what was saved into the table, before anything else is; answers the jobs whose metrics are still to be read.
    pub(crate) async fn begin_table(&self) -> Result<Vec<JobUid>, StoreError> {
        let seals = self.store.read_seals().await?;
        let seals: HashMap<JobUid, u64> = seals.into_iter().map(|(uid, seal)| (uid, seal.commits)).collect();
        let taken = self.load_saved_table(&seals).await?;
        Ok(seals.into_keys().filter(|uid| !taken.contains(uid)).collect())
    }

    async fn read_table(&self, unread: Vec<JobUid>) -> Result<(), Refused> {
        for uid in unread {
            self.check_running()?;
            if let Some(cell) = self.registry.find_uid(&uid) {
                let metrics = read_metrics(&self.store, uid).await?;
                self.registry.table.take_stored(&cell, &metrics);
            }
        }
        // What was not sealed is known by the heads, which mark their job when they are in memory. The sealer has them there
        // one after the other.
        let mut leftovers = self.registry.table.leftovers.subscribe();
        let gone_through =
            leftovers.wait_for(|leftovers| leftovers.is_some()).await.is_ok_and(|all| *all == Some(true));
        if gone_through {
            return Ok(());
        }
        for uid in self.store.list_jobs_with_frames().await? {
            self.check_running()?;
            if let Some(cell) = self.registry.find_uid(&uid) {
                match cell.heads(self).await {
                    // It is being removed, and will be out of the table.
                    Ok(_) | Err(Refused::JobGone { .. }) => {}
                    Err(refused) => return Err(refused),
                }
            }
        }
        Ok(())
    }
}
