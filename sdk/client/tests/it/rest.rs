//! Requests and their refusals.
