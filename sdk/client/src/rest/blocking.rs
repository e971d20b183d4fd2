//! For programs without a runtime of their own.

use std::future::Future;

use super::{Rest, RestError};
use crate::fork;

/// A [`Rest`] and a small runtime to wait on it: `api.wait(api.rest().read_job(&job))`.
///
/// Not for use inside an async runtime; there [`Rest`] itself is at home.
#[derive(Debug)]
pub struct Blocking {
    rest: Rest,
    runtime: tokio::runtime::Runtime,
}

impl Blocking {
    /// Makes the runtime.
    ///
    /// # Errors
    ///
    /// [`RestError::Request`] when the operating system has no more file descriptors.
    pub fn new(rest: Rest) -> Result<Self, RestError> {
        let runtime = fork::undivided(|| tokio::runtime::Builder::new_current_thread().enable_all().build());
        let runtime = runtime.map_err(|error| RestError::Request(format!("no runtime: {error}")))?;
        Ok(Self { rest, runtime })
    }

    /// The client, to make requests with.
    pub fn rest(&self) -> &Rest {
        &self.rest
    }

    /// Waits for a request's answer.
    pub fn wait<F: Future>(&self, request: F) -> F::Output {
        self.runtime.block_on(request)
    }
}
