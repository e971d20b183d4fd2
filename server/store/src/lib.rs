//! Tables, keys, encodings, frame log and blobs over ordered bytes.

pub mod blob;

pub use blob::{BlobError, BlobRead, Blobs};
