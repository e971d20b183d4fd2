//! The face over a real engine whose store is memory: every request goes through the whole router, every WebSocket through
//! a real connection.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends where it is")]

mod door;
mod images;
mod live;
mod protocol;
mod rest;
mod server;
mod sockets;
mod table;
mod world;
