//! What draws: values in, events out. Nothing here fetches, subscribes or decides.

pub mod dialog;
pub mod frame;
pub mod icon;
pub mod job_row;
pub mod keys;
pub mod link;
pub mod log_row;
pub mod menu;
pub mod notice;
pub mod placed;
pub mod plot;
pub mod state_badge;
pub mod time;
