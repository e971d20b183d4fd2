//! Channels and charts of a job.

use std::collections::HashMap;
use std::sync::Arc;

use neptune_store::{ChannelRecord, ChartRecord, Writes};
use neptune_wire::chart::{Chart, CreateChart};
use neptune_wire::{Channel, ChannelKind, ChannelName, CreateChannel, JobRef, JobUid, Micros};

use crate::engine::Core;
use crate::heads::JobHeads;
use crate::registry::JobCell;
use crate::{Engine, Grant, Refused};

/// Channels one job may have.
const CHANNELS: u32 = 1_000_000;
/// Charts one job may have.
const CHARTS: usize = 1_000;
/// Series of one chart.
const SERIES: usize = 100;
/// Longest name of a series.
const SERIES_NAME_BYTES: usize = 256;
/// Channels that one commit may create: each is a condition and a change of at most a thousand.
pub(crate) const NEW_CHANNELS: usize = 400;

impl Engine {
    /// Creates a channel or finds the one of the same name, kind and origin.
    ///
    /// # Errors
    ///
    /// [`Refused::ChannelKindDiffers`], [`Refused::Field`] for a name that belongs to another origin.
    pub async fn create_channel(
        &self,
        grant: &Grant,
        job: &JobRef,
        create: CreateChannel,
        now: Micros,
    ) -> Result<Channel, Refused> {
        let cell = self.find_job(grant, job)?;
        grant.check_write(&cell)?;
        let core = self.core.clone();
        let created = async move {
            let heads = cell.heads(&core).await?;
            let _one = heads.writing.lock().await;
            heads.check_current()?;
            let mut new = NewChannels::of(&heads);
            let number = new.find_or_add(create, now)?;
            let writes = new.writes(&heads.uid);
            if !writes.is_empty() {
                core.store.commit(writes).await?;
                new.add_to_heads();
            }
            let channel = heads.lock().channels[number as usize].channel();
            Ok(channel)
        };
        self.core.finish(created).await
    }

    /// All channels of a job with their summaries, in order of creation.
    ///
    /// # Errors
    ///
    /// [`Refused::UnknownJob`].
    pub async fn list_channels(&self, grant: &Grant, job: &JobRef) -> Result<Vec<Channel>, Refused> {
        let heads = self.find_heads(grant, job).await?;
        let inner = heads.lock();
        Ok(inner.channels.iter().map(|channel| channel.channel()).collect())
    }

    /// One channel of a job with its summary.
    ///
    /// # Errors
    ///
    /// [`Refused::UnknownJob`], [`Refused::UnknownChannel`].
    pub async fn read_channel(
        &self,
        grant: &Grant,
        job: &JobRef,
        name: &ChannelName,
    ) -> Result<Channel, Refused> {
        let heads = self.find_heads(grant, job).await?;
        let inner = heads.lock();
        let (_, channel) = inner.find_channel(name)?;
        Ok(channel.channel())
    }

    /// Creates a chart or finds an equal one of the name.
    ///
    /// # Errors
    ///
    /// [`Refused::Taken`] when another chart has the name, [`Refused::TooLarge`] for too many series.
    pub async fn create_chart(
        &self,
        grant: &Grant,
        job: &JobRef,
        create: CreateChart,
        _now: Micros,
    ) -> Result<Chart, Refused> {
        let cell = self.find_job(grant, job)?;
        grant.check_write(&cell)?;
        let core = self.core.clone();
        self.core.finish(async move { core.create_chart(&cell, create).await }).await
    }

    /// All charts of a job in order of creation.
    ///
    /// # Errors
    ///
    /// [`Refused::UnknownJob`].
    pub async fn list_charts(&self, grant: &Grant, job: &JobRef) -> Result<Vec<Chart>, Refused> {
        let heads = self.find_heads(grant, job).await?;
        let charts = heads.lock().charts.clone();
        Ok(charts)
    }

    /// What a job produced, for a grant that may read it.
    pub(crate) async fn find_heads(&self, grant: &Grant, job: &JobRef) -> Result<Arc<JobHeads>, Refused> {
        Ok(self.find_read(grant, job).await?.1)
    }

    /// The same, with the job itself: what is read through both goes through [`JobCell::unless_gone`].
    pub(crate) async fn find_read(
        &self,
        grant: &Grant,
        job: &JobRef,
    ) -> Result<(Arc<JobCell>, Arc<JobHeads>), Refused> {
        let cell = self.find_job(grant, job)?;
        let heads = cell.heads(&self.core).await?;
        Ok((cell, heads))
    }
}

impl Core {
    /// Creates a chart or finds an equal one of the name.
    pub(crate) async fn create_chart(
        &self,
        cell: &Arc<JobCell>,
        create: CreateChart,
    ) -> Result<Chart, Refused> {
        check_chart(&create)?;
        let heads = cell.heads(self).await?;
        let _one = heads.writing.lock().await;
        heads.check_current()?;
        let (same_name, count) = {
            let inner = heads.lock();
            let same_name = inner.charts.iter().find(|chart| chart.name == create.name).cloned();
            (same_name, inner.charts.len())
        };
        match same_name {
            Some(existing) if existing == create => return Ok(existing),
            Some(_) => {
                let by = format!("another chart {:?} of this job", create.name.as_str());
                return Err(Refused::Taken { what: "chart name", by });
            }
            None if count >= CHARTS => {
                return Err(Refused::TooLarge { what: "number of charts", limit: CHARTS as u64 });
            }
            None => {}
        }
        let mut writes = Writes::new();
        writes.create_chart(&heads.uid, count as u32, &ChartRecord::from(&create));
        self.store.commit(writes).await?;
        heads.lock().charts.push(create.clone());
        heads.grow();
        Ok(create)
    }
}

fn check_chart(chart: &CreateChart) -> Result<(), Refused> {
    if chart.series.len() > SERIES {
        return Err(Refused::TooLarge { what: "number of series", limit: SERIES as u64 });
    }
    for (at, series) in chart.series.iter().enumerate() {
        if series.name.len() > SERIES_NAME_BYTES {
            return Err(Refused::field(format!("series[{at}].name"), "must be at most 256 bytes of text"));
        }
    }
    Ok(())
}

/// Channels about to be created together, on top of those a job has. The caller holds the heads' `writing`.
pub(crate) struct NewChannels<'a> {
    heads: &'a JobHeads,
    /// Number of the first new one.
    first: u32,
    records: Vec<ChannelRecord>,
    by_name: HashMap<ChannelName, u32>,
}

impl<'a> NewChannels<'a> {
    pub(crate) fn of(heads: &'a JobHeads) -> Self {
        let first = heads.lock().channels.len() as u32;
        Self { heads, first, records: Vec::new(), by_name: HashMap::new() }
    }

    /// The number of an equal channel; `None` when there is none of the name.
    pub(crate) fn find(&self, create: &CreateChannel) -> Result<Option<u32>, Refused> {
        check_channel(create)?;
        let inner = self.heads.lock();
        let (number, record) = match (inner.by_name.get(&create.name), self.by_name.get(&create.name)) {
            (Some(&number), _) => (number, &inner.channels[number as usize].record),
            (None, Some(&number)) => (number, &self.records[(number - self.first) as usize]),
            (None, None) => return Ok(None),
        };
        if record.kind != create.kind {
            return Err(Refused::ChannelKindDiffers {
                channel: create.name.clone(),
                exists: record.kind,
                asked: create.kind,
            });
        }
        // The name alone decides the origin, so it is the same.
        Ok(Some(number))
    }

    pub(crate) fn find_or_add(&mut self, create: CreateChannel, now: Micros) -> Result<u32, Refused> {
        if let Some(number) = self.find(&create)? {
            return Ok(number);
        }
        let number = self.first + self.records.len() as u32;
        if number >= CHANNELS {
            return Err(Refused::TooLarge { what: "number of channels of a job", limit: CHANNELS.into() });
        }
        self.by_name.insert(create.name.clone(), number);
        let CreateChannel { name, kind, origin } = create;
        self.records.push(ChannelRecord { name, kind, origin, created: now });
        Ok(number)
    }

    /// How many would be created.
    pub(crate) fn count(&self) -> usize {
        self.records.len()
    }

    pub(crate) fn writes(&self, job: &JobUid) -> Writes {
        let mut writes = Writes::new();
        for (number, record) in (self.first..).zip(&self.records) {
            writes.create_channel(job, number, record);
        }
        writes
    }

    /// They are stored: the job has them now.
    pub(crate) fn add_to_heads(self) {
        if self.records.is_empty() {
            return;
        }
        let mut inner = self.heads.lock();
        for record in self.records {
            inner.add_channel(record, None);
        }
        drop(inner);
        self.heads.grow();
    }
}

/// The name decides who may fill a channel: `sys/stdout` and `sys/stderr` are the logs, other `sys/…` names belong to
/// the runner, all else to the program.
fn check_channel(create: &CreateChannel) -> Result<(), Refused> {
    use neptune_wire::ChannelOrigin::{Stderr, Stdout, System, User};
    let CreateChannel { name, kind, origin } = create;
    let log = [Stdout, Stderr].into_iter().find(|log| log.log_name() == Some(name.as_str()));
    let owner = log.unwrap_or(if name.is_system() { System } else { User });
    if *origin != owner {
        let wanted = match owner {
            User => "a name of this origin begins with sys/".to_owned(),
            System => "names that begin with sys/ belong to Neptune; choose another".to_owned(),
            Stdout | Stderr => format!("{:?} is the name of a log; choose another", name.as_str()),
        };
        let wanted = match origin.log_name() {
            Some(log) => format!("the log of this origin is named {log:?}"),
            None => wanted,
        };
        return Err(Refused::field("name", wanted));
    }
    if owner.is_log() && *kind != ChannelKind::Text {
        return Err(Refused::field("kind", "a log is of kind text"));
    }
    Ok(())
}
