//! Who may do what: the only place that makes a [`Grant`].
//!
//! On loopback without users everything is granted. An attempt's token reaches its own job: points, blobs, tags,
//! properties, charts, reading the job; the blobs of its project too. An administrator's token reaches everything.
//!
//! A token is a prefix and 32 bytes in hexadecimal; only its BLAKE3 hash is stored. An attempt's token is derived from the
//! server's key and the claim, so that repeating a claim answers the same token although nobody kept it.

use neptune_store::{AdminTokenRecord, Store, Writes};
use neptune_wire::id::ClaimId;
use neptune_wire::{AttemptNumber, Digest, JobUid, Micros, ProjectKey};

use crate::life::User;
use crate::registry::JobCell;
use crate::{Engine, Refused};

const ATTEMPT_PREFIX: &str = "npa_";
const ADMIN_PREFIX: &str = "npt_";
/// Longest name of a token.
const TOKEN_NAME_BYTES: usize = 256;

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

impl Grant {
    /// Refuses whoever may not do everything; `what` completes "the token does not allow".
    pub(crate) fn check_everything(&self, what: &'static str) -> Result<(), Refused> {
        match self.0 {
            Reach::Everything => Ok(()),
            Reach::Attempt { .. } => Err(Refused::Forbidden { what }),
        }
    }

    /// As whom its holder uses blobs.
    pub(crate) fn user(&self) -> User {
        match &self.0 {
            Reach::Everything => User::Operator,
            Reach::Attempt { job, .. } => User::Job(*job),
        }
    }

    /// Refuses an attempt that is of another job.
    pub(crate) fn check_job(&self, cell: &JobCell) -> Result<(), Refused> {
        match &self.0 {
            Reach::Everything => Ok(()),
            Reach::Attempt { job, .. } if *job == cell.uid => Ok(()),
            Reach::Attempt { .. } => Err(Refused::Forbidden { what: "other jobs than its own" }),
        }
    }

    /// Refuses an attempt that is of another job, or that was superseded, and whoever would write to a deleted job.
    pub(crate) fn check_write(&self, cell: &JobCell) -> Result<(), Refused> {
        self.check_job(cell)?;
        cell.check_kept()?;
        match &self.0 {
            Reach::Everything => Ok(()),
            Reach::Attempt { attempt, .. } => cell.check_attempt(*attempt),
        }
    }

    /// Refuses whoever may not speak for this attempt.
    pub(crate) fn check_speaks_for(&self, cell: &JobCell, speaks_for: AttemptNumber) -> Result<(), Refused> {
        self.check_job(cell)?;
        match &self.0 {
            Reach::Attempt { attempt, .. } if *attempt != speaks_for => {
                Err(Refused::Forbidden { what: "other attempts than its own" })
            }
            _ => Ok(()),
        }
    }

    fn check_project(&self, key: &ProjectKey) -> Result<(), Refused> {
        match &self.0 {
            Reach::Attempt { project, .. } if project != key => {
                Err(Refused::Forbidden { what: "other projects than its own" })
            }
            _ => Ok(()),
        }
    }
}

impl Engine {
    /// Turns the way a request came in into what it may do.
    ///
    /// # Errors
    ///
    /// [`Refused::Unauthorized`] for a token that is unknown or malformed.
    pub async fn access(&self, access: Access<'_>) -> Result<Grant, Refused> {
        let text = match access {
            Access::OpenLoopback => return Ok(Grant(Reach::Everything)),
            Access::Token(text) => text,
        };
        let hash = token_hash(text);
        if text.starts_with(ADMIN_PREFIX) {
            let found = self.store().find_admin_token(&hash).await?;
            return found.map(|_| Grant(Reach::Everything)).ok_or(Refused::Unauthorized);
        }
        if !text.starts_with(ATTEMPT_PREFIX) {
            return Err(Refused::Unauthorized);
        }
        let token = self.store().find_attempt_token(&hash).await?.ok_or(Refused::Unauthorized)?;
        let cell = self.core.registry.find_uid(&token.job).ok_or(Refused::Unauthorized)?;
        let project = cell.id.project.clone();
        Ok(Grant(Reach::Attempt { project, job: token.job, attempt: token.attempt }))
    }

    /// Makes an administrator's token from 32 random bytes, stores its hash and answers its text. `name` is for people.
    ///
    /// # Errors
    ///
    /// [`Refused::Field`] for a name that is empty or too long; what hinders the store.
    pub async fn create_admin_token(
        &self,
        name: &str,
        random: [u8; 32],
        now: Micros,
    ) -> Result<String, Refused> {
        if name.is_empty() || name.len() > TOKEN_NAME_BYTES {
            return Err(Refused::field("name", "must be 1 to 256 bytes of text"));
        }
        self.core.check_running()?;
        let token = format!("{ADMIN_PREFIX}{}", Digest::from_bytes(random));
        let mut writes = Writes::new();
        writes.create_admin_token(&token_hash(&token), &AdminTokenRecord { name: name.into(), created: now });
        self.store().commit(writes).await?;
        Ok(token)
    }

    /// Whether any administrator's token exists.
    ///
    /// # Errors
    ///
    /// What hinders the store.
    pub async fn has_admin_token(&self) -> Result<bool, Refused> {
        Ok(self.store().has_admin_token().await?)
    }

    /// Refuses a project that does not exist or that the grant does not reach.
    pub(crate) fn may_use_project(&self, grant: &Grant, project: &ProjectKey) -> Result<(), Refused> {
        grant.check_project(project)?;
        self.core.registry.find_project(project).map(drop)
    }
}

/// The token of an attempt and its hash.
pub(crate) fn attempt_token(
    store: &Store,
    job: &JobUid,
    attempt: AttemptNumber,
    claim: &ClaimId,
) -> (String, Digest) {
    let mut hasher = blake3::Hasher::new_keyed(store.server_key());
    hasher.update(b"attempt");
    hasher.update(job.as_bytes());
    hasher.update(&attempt.0.to_be_bytes());
    hasher.update(claim.as_bytes());
    let token = format!("{ATTEMPT_PREFIX}{}", Digest::from_bytes(*hasher.finalize().as_bytes()));
    let hash = token_hash(&token);
    (token, hash)
}

fn token_hash(token: &str) -> Digest {
    Digest::from_bytes(*blake3::hash(token.as_bytes()).as_bytes())
}

#[cfg(test)]
mod tests;
