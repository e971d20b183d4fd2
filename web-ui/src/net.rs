//! The browser side of the contract: requests, the live connection, the clock.

pub mod api;
pub mod clock;
pub mod live;
