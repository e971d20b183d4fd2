//! Records: what is stored under a key, as one version byte and the fields in postcard's encoding.
//!
//! The fields are nouns of the wire crate, but not in its JSON form: [`disk`] gives each of them bytes that a change of
//! the contract cannot move. Fields are never reordered. A record that must change: 1. keep the old struct as `…V1`
//! beside it, 2. raise `VERSION` and read the old one in `read_old`, 3. add a fixture of the new version.

mod attempt;
mod channel;
mod channel_state;
mod disk;
mod job;
mod life;
mod project;
mod session;

pub use attempt::{AdminTokenRecord, AttemptRecord, TokenRecord};
pub use channel::{ChannelRecord, ChartRecord};
pub use channel_state::{
    ChannelState, ChannelStateRecord, LogCursor, LogState, NumericState, RowsState, Running, SealRecord,
    Steps,
};
pub use job::{AbortRecord, JobRecord, JobSpec, StatusRecord, params_from_spec};
pub use life::{DeletedRecord, RetentionRecord, UnneededRecord};
pub use project::ProjectRecord;
pub use session::{AppendedRecord, BindingsRecord, DIRECT_SESSION, DroppedRecord, SessionRecord};

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A stored value with its version.
pub trait Record: Serialize + DeserializeOwned {
    /// Written as the first byte.
    const VERSION: u8;
    /// For messages.
    const NAME: &'static str;

    /// Reads the fields of an older version; versions that never were are refused.
    fn read_old(version: u8, _fields: &[u8]) -> Result<Self, RecordError> {
        Err(RecordError::Version { name: Self::NAME, version, known: Self::VERSION })
    }

    /// The record as bytes. Equal records have equal bytes, which conditions of a commit rely on.
    fn encode(&self) -> Bytes {
        let fields = postcard::to_extend(self, vec![Self::VERSION]);
        fields.expect("a record is plain data and writing to memory cannot fail").into()
    }

    /// Reads a record.
    ///
    /// # Errors
    ///
    /// [`RecordError`] for bytes that are damaged or of a version that this program does not know.
    fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let (&version, fields) = bytes.split_first().ok_or(RecordError::Damaged { name: Self::NAME })?;
        if version != Self::VERSION {
            return Self::read_old(version, fields);
        }
        match postcard::take_from_bytes(fields) {
            Ok((record, [])) => Ok(record),
            _ => Err(RecordError::Damaged { name: Self::NAME }),
        }
    }
}

/// Why bytes are no record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Written by a newer program.
    #[error("{name} record of version {version}, this program knows up to {known}")]
    Version {
        /// Which record.
        name: &'static str,
        /// As found.
        version: u8,
        /// The newest known.
        known: u8,
    },
    /// Too short, too long, or fields that cannot be.
    #[error("{name} record is damaged")]
    Damaged {
        /// Which record.
        name: &'static str,
    },
}

#[cfg(test)]
mod tests;
