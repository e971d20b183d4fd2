//! Who may do what: the only place that makes a [`Grant`].
//!
//! On loopback without users everything is granted. An attempt's token reaches its own job: points, blobs, tags,
//! properties, charts, reading the job. An administrator's token reaches everything.

use neptune_wire::{AttemptNumber, JobUid, ProjectKey};

use crate::{Engine, Refused};

/// What its holder may do; made by [`Engine::access`] and asked by every other function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant(Reach);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Reach {
    Everything,
    Attempt { project: ProjectKey, job: JobUid, attempt: AttemptNumber },
}

/// How a request came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access<'a> {
    /// Without a token, over loopback, on a server that is open there.
    OpenLoopback,
    /// With a bearer token or the cookie made from one.
    Token(&'a str),
}

impl Engine {
    /// Turns the way a request came in into what it may do.
    ///
    /// # Errors
    ///
    /// [`Refused::Unauthorized`] for a token that is unknown or malformed.
    pub async fn access(&self, _access: Access<'_>) -> Result<Grant, Refused> {
        let _ = (Reach::Everything, |project, job, attempt| Reach::Attempt { project, job, attempt });
        todo!("access")
    }

    /// Makes an administrator's token from 32 random bytes, stores its hash and answers its text. `name` is for people.
    pub async fn create_admin_token(
        &self,
        _name: &str,
        _random: [u8; 32],
        _now: neptune_wire::Micros,
    ) -> Result<String, Refused> {
        todo!("access")
    }

    /// Whether any administrator's token exists.
    pub async fn has_admin_token(&self) -> Result<bool, Refused> {
        todo!("access")
    }
}
