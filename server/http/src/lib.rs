//! HTTP and WebSocket face of the engine, and the web UI's files.
//!
//! A request walks [`serve`](Listener::serve) (connection, TLS) -> `access_log` (number, time, line) -> `guard` (host,
//! origin, who asks, headers of every answer) -> `bounds` -> a handler in `routes` or `socket` -> the engine. What is
//! refused on the way becomes a problem document in `failure`, the only file that knows statuses and codes.
//!
//! Does not know storage.

mod failure;
mod limits;
mod settings;

mod face;
mod peer;
mod serve;
mod tls;

mod access_log;
mod bounds;
mod guard;

mod accept;
mod access;
mod archive;
mod download;
mod extract;
mod routes;
mod socket;

mod docs;
mod metrics;
mod openapi;
mod ui;

pub use face::{Face, now};
pub use peer::Connection;
pub use routes::router;
pub use serve::{Ended, Listener};
pub use settings::{Network, PublicHost, Settings, TlsFiles};
pub use ui::has_page;
