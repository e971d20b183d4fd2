//! `/api/v1/ingest`: text messages that frame the binary [`crate::frame`]s, in both directions.
//!
//! A writer connects with its attempt's token (`Authorization: Bearer …`), opens its session, opens channels and sends
//! frames without waiting for answers: messages of one connection are handled in order. A channel number is chosen by the
//! writer, belongs to the session for ever, and is remembered by the server, so that a spooled frame is valid on any later
//! connection. `Acked` comes after the frames up to that number are on disk; frame n is taken only after n - 1, a lower
//! number is acknowledged again and dropped, a higher one is answered by `Gap`. A frame refused for its content uses up
//! its number and is counted on the job.
//!
//! A runner opens a connection for `OpenControl` in the same way and then beats ([`crate::control`]).

use serde::{Deserialize, Serialize};

use crate::channel::{ChannelKind, ChannelOrigin};
use crate::control::{Abort, Beat, Wish};
use crate::id::{AttemptNumber, JobRef, SessionId};
use crate::name::ChannelName;
use crate::problem::Problem;

/// Channels one session may open.
pub const SESSION_CHANNELS: u32 = 100_000;
/// Channels in one [`IngestUp::OpenChannels`].
pub const OPEN_CHANNELS: usize = 1_000;

/// What a client sends as text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum IngestUp {
    /// First message of a writer, and again after a reconnect.
    OpenSession {
        /// Made by the writer.
        session: SessionId,
        /// The job.
        job: JobRef,
        /// The attempt the token belongs to.
        attempt: AttemptNumber,
    },
    /// Creates channels or finds them, and binds the session's numbers to them. Repeating it changes nothing.
    OpenChannels {
        /// An open session of this connection.
        session: SessionId,
        /// At most [`OPEN_CHANNELS`].
        channels: Vec<OpenChannel>,
    },
    /// The writer has nothing more to send; its number is kept.
    CloseSession {
        /// An open session of this connection.
        session: SessionId,
    },
    /// First message of a runner's control connection.
    OpenControl {
        /// The job.
        job: JobRef,
        /// The attempt the token belongs to.
        attempt: AttemptNumber,
    },
    /// What the runner holds.
    Beat(Beat),
}

/// One channel of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenChannel {
    /// Chosen by the writer, from 0; below [`SESSION_CHANNELS`].
    pub number: u32,
    /// The channel's name in the job.
    pub name: ChannelName,
    /// What y is.
    pub kind: ChannelKind,
    /// Who fills it.
    #[serde(default)]
    pub origin: ChannelOrigin,
}

/// What the server answers as text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum IngestDown {
    /// The session is open; frames from `acked + 1` are wanted.
    SessionOpened {
        /// The session.
        session: SessionId,
        /// The highest frame number on disk, 0 for a new session.
        acked: u64,
    },
    /// All asked channels are bound, except the refused ones, whose frames will be counted as dropped.
    ChannelsOpened {
        /// The session.
        session: SessionId,
        /// How many are bound now.
        bound: u32,
        /// Those that could not be.
        #[serde(default)]
        refused: Vec<RefusedChannel>,
    },
    /// Every frame up to this number is on disk (or was refused and counted).
    Acked {
        /// The session.
        session: SessionId,
        /// The highest such number.
        acked: u64,
    },
    /// A frame was refused for its content; its number is used up and its points are counted as dropped.
    Refused {
        /// The session.
        session: SessionId,
        /// The frame's number.
        seq: u64,
        /// Why.
        problem: Problem,
    },
    /// A frame came too early; send from `expected`.
    Gap {
        /// The session.
        session: SessionId,
        /// The number wanted next.
        expected: u64,
    },
    /// Nothing more will be taken from this session on this connection.
    SessionClosed {
        /// The session.
        session: SessionId,
        /// The highest frame number on disk.
        acked: u64,
    },
    /// The control connection is open.
    ControlOpened {
        /// Beat at least so often.
        beat_every_millis: u64,
    },
    /// The answer to a beat.
    Wish(Wish),
    /// A hint to end an attempt now; the next wish says it again.
    Abort(Abort),
    /// A message was refused; the connection lives on. `session` when it was about one.
    Problem {
        /// The session it was about.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        session: Option<SessionId>,
        /// Why.
        problem: Problem,
    },
}

/// A channel that could not be opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedChannel {
    /// The number it was to have.
    pub number: u32,
    /// Why.
    pub problem: Problem,
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(message: &impl Serialize, expect: Expect) {
        expect.assert_eq(&serde_json::to_string(message).unwrap());
    }

    #[test]
    fn messages_look_as_documented() {
        let session = SessionId::from_bytes([1; 16]);
        check(
            &IngestUp::OpenSession { session, job: "TRIG-12".parse().unwrap(), attempt: AttemptNumber(1) },
            expect![[
                r#"{"type":"open_session","session":"01010101010101010101010101010101","job":"TRIG-12","attempt":1}"#
            ]],
        );
        check(
            &IngestDown::Acked { session, acked: 7 },
            expect![[r#"{"type":"acked","session":"01010101010101010101010101010101","acked":7}"#]],
        );
        check(
            &IngestUp::Beat(Beat { seq: 1, uptime_micros: 5, holding: vec![] }),
            expect![[r#"{"type":"beat","seq":1,"uptime_micros":5,"holding":[]}"#]],
        );
    }
}
