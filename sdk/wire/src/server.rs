//! What a server says of itself, and how a browser signs in.

use serde::{Deserialize, Serialize};

/// Header that marks a change as made by a Neptune client (a page of another site cannot send it unasked).
pub const CLIENT_HEADER: &str = "Neptune-Client";
/// Where a server listens unless told otherwise.
pub const DEFAULT_URL: &str = "http://127.0.0.1:8420";
/// Prefix of every REST path.
pub const API: &str = "/api/v1";

/// `GET /api/v1/server`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Server {
    /// The server's version.
    pub version: String,
    /// `open` on loopback without users; `token` where one must sign in.
    pub access: AccessKind,
    /// The disk is full: reading works, writing resumes when there is space.
    pub read_only: bool,
    /// Writing failed: reading may work, nothing is stored until the server is started again.
    #[serde(default)]
    pub failed: bool,
}

/// How a server is entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum AccessKind {
    /// Everyone on this machine.
    Open,
    /// Bearer token, or the cookie that `POST /api/v1/login` sets.
    Token,
}

/// `POST /api/v1/login`: turns a token into an HttpOnly cookie for the web page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// A token made by `neptune-server token create`.
    pub token: String,
}
