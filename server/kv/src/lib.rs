//! Ordered bytes: the storage trait and the in-memory reference.
