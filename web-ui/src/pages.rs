//! What is fetched and held: one file per page, below it its parts.

pub mod job;
pub mod jobs;
pub mod sign_in;
