//! Sessions in memory: which frames were taken, which are stored, and what the session's channel numbers mean.

use std::collections::HashMap;
use std::sync::{Mutex, RwLock};

use neptune_store::{SessionRecord, StoredSession};
use neptune_wire::{AttemptNumber, SessionId};
use tokio::sync::watch;

use crate::registry::LOCK;

/// One writer's session.
pub(crate) struct Session {
    pub(crate) id: SessionId,
    pub(crate) attempt: AttemptNumber,
    taken: Mutex<Taken>,
    /// The mark: everything up to here is stored, or refused and counted.
    pub(crate) mark: watch::Sender<u64>,
    bindings: RwLock<Bindings>,
}

/// What was taken of the session's frames.
#[derive(Debug, Clone, Copy)]
struct Taken {
    /// The highest number that was taken; those above the mark wait to be stored.
    last: u64,
    /// The connection that may send.
    owner: u64,
}

#[derive(Debug, Default)]
struct Bindings {
    /// The job's channel of each number. A map, as numbers may be far apart.
    channels: HashMap<u32, u32>,
    parts: u32,
}

/// What to do with a frame, by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It is the next.
    Next,
    /// It is stored already.
    Stored { mark: u64 },
    /// It was taken already and will be acknowledged.
    Waiting,
    /// Frames before it are missing.
    Early { expected: u64 },
    /// Another connection has the session now.
    Replaced,
}

impl Session {
    pub(crate) fn new(id: SessionId, attempt: AttemptNumber) -> Session {
        Session {
            id,
            attempt,
            taken: Mutex::new(Taken { last: 0, owner: 0 }),
            mark: watch::Sender::new(0),
            bindings: RwLock::default(),
        }
    }

    pub(crate) fn from_stored(stored: StoredSession) -> Session {
        let StoredSession { id, record, bindings, binding_parts } = stored;
        let session = Session {
            taken: Mutex::new(Taken { last: record.mark, owner: 0 }),
            mark: watch::Sender::new(record.mark),
            ..Session::new(id, record.attempt)
        };
        session.bind(&bindings);
        session.bindings.write().expect(LOCK).parts = binding_parts;
        session
    }

    /// The record that is stored now.
    pub(crate) fn record(&self) -> SessionRecord {
        SessionRecord { attempt: self.attempt, mark: *self.mark.borrow() }
    }

    /// The job's channel of a number.
    pub(crate) fn find_channel(&self, number: u32) -> Option<u32> {
        let bindings = self.bindings.read().expect(LOCK);
        bindings.channels.get(&number).copied()
    }

    /// How many numbers are bound, and how many records hold them.
    pub(crate) fn bound(&self) -> (u32, u32) {
        let bindings = self.bindings.read().expect(LOCK);
        (bindings.channels.len() as u32, bindings.parts)
    }

    /// Binds numbers to channels; it is stored already, as one record.
    pub(crate) fn bind(&self, channels: &[(u32, u32)]) {
        let mut bindings = self.bindings.write().expect(LOCK);
        bindings.channels.extend(channels.iter().copied());
        bindings.parts += 1;
    }

    /// Makes a connection the one that may send; frames of an older one are refused from now on.
    pub(crate) fn own(&self, connection: u64) {
        self.taken.lock().expect(LOCK).owner = connection;
    }

    /// The highest number that was taken.
    pub(crate) fn last_taken(&self) -> u64 {
        self.taken.lock().expect(LOCK).last
    }

    /// Whose turn it is, without taking it.
    pub(crate) fn turn(&self, connection: u64, seq: u64) -> Turn {
        self.turn_in(&self.taken.lock().expect(LOCK), connection, seq)
    }

    /// Takes a frame's turn and, if it is the next, puts it in line while nobody else can come between.
    pub(crate) fn take_turn(&self, connection: u64, seq: u64, line_up: impl FnOnce()) -> Turn {
        let mut taken = self.taken.lock().expect(LOCK);
        let turn = self.turn_in(&taken, connection, seq);
        if turn == Turn::Next {
            taken.last = seq;
            line_up();
        }
        turn
    }

    fn turn_in(&self, taken: &Taken, connection: u64, seq: u64) -> Turn {
        if taken.owner != connection {
            return Turn::Replaced;
        }
        let mark = *self.mark.borrow();
        match seq {
            _ if seq <= mark => Turn::Stored { mark },
            _ if seq <= taken.last => Turn::Waiting,
            _ if seq == taken.last + 1 => Turn::Next,
            _ => Turn::Early { expected: taken.last + 1 },
        }
    }

    /// Frames up to `mark` are stored.
    pub(crate) fn stored(&self, mark: u64) {
        self.mark.send_replace(mark);
    }

    /// Forgets what was taken and will not be stored, so that it may be sent again.
    pub(crate) fn give_back(&self) {
        self.taken.lock().expect(LOCK).last = *self.mark.borrow();
        // Whoever waits for the mark looks again.
        self.mark.send_modify(|_| {});
    }
}
