//! Opening sessions and binding their channel numbers, both durable before they are answered.

use std::collections::HashMap;
use std::sync::Arc;

use neptune_store::{BindingsRecord, SessionRecord, Writes};
use neptune_wire::ingest::{OPEN_CHANNELS, OpenChannel, SESSION_CHANNELS};
use neptune_wire::{AttemptNumber, CreateChannel, Micros, SessionId};

use super::{OpenSession, RefusedChannelWhy};
use crate::Refused;
use crate::channels::{NEW_CHANNELS, NewChannels};
use crate::engine::Core;
use crate::heads::DIRECT;
use crate::heads::session::Session;
use crate::registry::JobCell;

/// Sessions one job may have, ever: a thousand processes that restart a hundred times.
const JOB_SESSIONS: usize = 100_000;

impl Core {
    /// Finds a session of the job or makes it.
    pub(super) async fn open_session(
        &self,
        cell: Arc<JobCell>,
        id: SessionId,
        attempt: AttemptNumber,
        _now: Micros,
    ) -> Result<OpenSession, Refused> {
        if id == DIRECT {
            return Err(Refused::field("session", "must not be all zeros; take 16 random bytes"));
        }
        let heads = cell.heads(self).await?;
        let _one = heads.writing.lock().await;
        heads.check_current()?;
        let (found, count) = {
            let inner = heads.lock();
            (inner.sessions.get(&id).cloned(), inner.sessions.len())
        };
        if let Some(session) = found {
            if session.attempt != attempt {
                let by = format!("attempt {}; a session belongs to one attempt", session.attempt);
                return Err(Refused::Taken { what: "session", by });
            }
            return Ok(OpenSession { cell, heads: heads.clone(), session });
        }
        if count >= JOB_SESSIONS {
            return Err(Refused::TooLarge {
                what: "number of sessions of a job",
                limit: JOB_SESSIONS as u64,
            });
        }
        let mut writes = Writes::new();
        writes.create_session(&cell.uid, &id, &SessionRecord { attempt, mark: 0 });
        self.store.commit(writes).await?;
        let session = Arc::new(Session::new(id, attempt));
        heads.lock().sessions.insert(id, session.clone());
        Ok(OpenSession { cell, heads: heads.clone(), session })
    }

    /// Waits until every frame of the session that was taken is stored, or given back; answers the mark.
    ///
    /// # Errors
    ///
    /// [`Refused::ReadOnly`] while the disk has no room for them.
    pub(crate) async fn settled(&self, session: &Session) -> Result<u64, Refused> {
        let (mut mark, mut full) = (session.mark.subscribe(), self.store.disk().follow());
        loop {
            let stored = *mark.borrow_and_update();
            if session.last_taken() <= stored {
                return Ok(stored);
            }
            if *full.borrow_and_update() {
                return Err(Refused::ReadOnly);
            }
            // Both senders live as long as the engine, so neither wait can fail.
            tokio::select! {
                _ = mark.changed() => {}
                _ = full.changed() => {}
            }
        }
    }

    /// Binds numbers to channels, making those that do not exist.
    pub(super) async fn open_channels(
        &self,
        open: &OpenSession,
        asked: Vec<OpenChannel>,
        now: Micros,
    ) -> Result<(u32, Vec<RefusedChannelWhy>), Refused> {
        if asked.len() > OPEN_CHANNELS {
            return Err(Refused::TooLarge {
                what: "number of channels in one message",
                limit: OPEN_CHANNELS as u64,
            });
        }
        let _one = open.heads.writing.lock().await;
        open.heads.check_current()?;
        let mut refused = Vec::new();
        for part in asked.chunks(NEW_CHANNELS) {
            self.open_part(open, part, now, &mut refused).await?;
        }
        Ok((open.session.bound().0, refused))
    }

    /// Opens as many channels as one commit holds; the caller holds the heads' `writing`.
    async fn open_part(
        &self,
        open: &OpenSession,
        asked: &[OpenChannel],
        now: Micros,
        refused: &mut Vec<RefusedChannelWhy>,
    ) -> Result<(), Refused> {
        let mut new = NewChannels::of(&open.heads);
        let mut bound: HashMap<u32, u32> = HashMap::new();
        let mut bindings = BindingsRecord::default();
        for OpenChannel { number, name, kind, origin } in asked.iter().cloned() {
            let create = CreateChannel { name, kind, origin };
            match bind(open, &mut new, &bound, number, create, now) {
                Ok(Some(channel)) => {
                    bound.insert(number, channel);
                    bindings.channels.push((number, channel));
                }
                Ok(None) => {}
                Err(why) => refused.push(RefusedChannelWhy { number, why }),
            }
        }
        let mut writes = new.writes(&open.heads.uid);
        if !bindings.channels.is_empty() {
            let (_, parts) = open.session.bound();
            writes.create_bindings(&open.heads.uid, &open.session.id, parts, &bindings);
        }
        if writes.is_empty() {
            return Ok(());
        }
        self.store.commit(writes).await?;
        new.add_to_heads();
        if !bindings.channels.is_empty() {
            open.session.bind(&bindings.channels);
        }
        Ok(())
    }
}

/// The channel to bind to a number; `None` when it is bound to it already.
fn bind(
    open: &OpenSession,
    new: &mut NewChannels<'_>,
    bound: &HashMap<u32, u32>,
    number: u32,
    create: CreateChannel,
    now: Micros,
) -> Result<Option<u32>, Refused> {
    if number >= SESSION_CHANNELS {
        return Err(Refused::field("number", format!("must be below {SESSION_CHANNELS}")));
    }
    let name = create.name.clone();
    let before = bound.get(&number).copied().or_else(|| open.session.find_channel(number));
    let Some(before) = before else { return new.find_or_add(create, now).map(Some) };
    match new.find(&create)? {
        Some(channel) if channel == before => Ok(None),
        _ => {
            let by = format!("another channel than {:?}; a number keeps its channel for ever", name.as_str());
            Err(Refused::Taken { what: "channel number", by })
        }
    }
}
