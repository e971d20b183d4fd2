//! Tables, keys, encodings, frame log, sealed points and blobs over ordered bytes: speaks nouns, stores bytes.
//!
//! [`key`] says where everything lies, [`record`] what the bytes are, [`Writes`] what may change together; [`Store`] opens,
//! reads and commits. What is sealed of the frame log lies in [`chunk`]s under a [`pyramid`], text and images in
//! [`sheet`]s; bytes of blobs lie beside it all ([`blob`]). [`check`] tells what is damaged.
//!
//! Does not know HTTP, permissions, rules, or which backend it runs on.

pub mod blob;
pub mod check;
pub mod chunk;
pub mod control;
pub mod data;
pub mod disk;
pub mod key;
pub mod life;
pub mod pyramid;
pub mod record;
pub mod sealed;
pub mod segment;
pub mod sheet;
pub mod sheets;
pub mod store;
pub mod table;
pub mod writes;

pub use blob::{BlobError, BlobRead, Blobs, Leftover, StoredBlob};
pub use check::{Checked, Damage};
pub use control::StoredJob;
pub use data::{FramePage, FrameRange, JobTables, StoredSession};
pub use disk::Disk;
pub use life::{Held, Measured};
/// The cut below, for whoever opens a store over a backend.
pub use neptune_kv as kv;
pub use record::{
    AbortRecord, AdminTokenRecord, AppendedRecord, AttemptRecord, BindingsRecord, ChannelRecord,
    ChannelState, ChannelStateRecord, ChartRecord, DIRECT_SESSION, DeletedRecord, DroppedRecord, JobRecord,
    JobSpec, LogCursor, LogState, NumericState, ProjectRecord, Record, RecordError, RetentionRecord,
    RowsState, Running, SealRecord, SessionRecord, StatusRecord, Steps, TokenRecord, UnneededRecord,
    params_from_spec,
};
pub use store::{FORMAT, OpenError, Store, StoreError, WriteError};
pub use writes::Writes;
