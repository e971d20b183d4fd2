//! Problems: every refusal as an RFC 9457 document with a stable code, the field, and what would be right.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Media type of a [`Problem`].
pub const PROBLEM_JSON: &str = "application/problem+json";

/// A refusal that a program can branch on (`code`) and a person can act on (`detail`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Problem {
    /// Stable, for programs.
    pub code: Code,
    /// The same few words for every problem of this code.
    pub title: String,
    /// HTTP status; 0 where there was no HTTP answer (a WebSocket message).
    pub status: u16,
    /// What was wrong this time and what would be right.
    pub detail: String,
    /// The field, parameter or header that is wrong, as a dotted path: `params.amplitude.value`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The character of a filter, sort or list of columns at which it goes wrong, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
}

impl Problem {
    /// A problem without a field.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, title: code.title().into(), status: 0, detail: detail.into(), field: None, column: None }
    }

    /// The same problem, pointing at a field.
    pub fn at(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.field, self.column) {
            (Some(field), Some(column)) => {
                write!(f, "{} ({field}, column {column}): {}", self.title, self.detail)
            }
            (Some(field), None) => write!(f, "{} ({field}): {}", self.title, self.detail),
            (None, _) => write!(f, "{}: {}", self.title, self.detail),
        }
    }
}

impl std::error::Error for Problem {}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $title:literal;)*) => {
        /// The codes of all problems. Codes are never reused; clients treat unknown ones by their HTTP status.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        pub enum Code {
            $($(#[$doc])* #[serde(rename = $text)] $name,)*
            /// A code of a newer server.
            #[serde(other, rename = "unknown")]
            Unknown,
        }

        impl Code {
            /// Every code this version knows, for documentation and tests.
            pub const ALL: &[Code] = &[$(Code::$name,)* Code::Unknown];

            /// The words that all problems of this code share.
            pub fn title(self) -> &'static str {
                match self {
                    $(Code::$name => $title,)*
                    Code::Unknown => "unknown problem",
                }
            }

            /// The code as it is written.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Code::$name => $text,)*
                    Code::Unknown => "unknown",
                }
            }
        }
    };
}

codes! {
    /// A field, parameter or header has a value that cannot be right.
    InvalidField = "invalid-field", "invalid field";
    /// The body is no JSON or not of the documented shape.
    InvalidJson = "invalid-json", "invalid JSON";
    /// A change must carry `application/json`, `application/octet-stream` or the header `Neptune-Client`.
    UnsupportedMediaType = "unsupported-media-type", "unsupported media type";
    /// The body is over the limit that the detail names.
    TooLarge = "too-large", "too large";
    /// No such address.
    NoRoute = "no-route", "no such address";
    /// The address exists, not with this method.
    MethodNotAllowed = "method-not-allowed", "method not allowed";
    /// No such project.
    UnknownProject = "unknown-project", "unknown project";
    /// No such job.
    UnknownJob = "unknown-job", "unknown job";
    /// The job is deleted: it can be restored as the detail says, or it is gone for good.
    JobDeleted = "job-deleted", "deleted job";
    /// No such attempt of the job.
    UnknownAttempt = "unknown-attempt", "unknown attempt";
    /// No such channel in the job, or a frame names a channel number its session never opened.
    UnknownChannel = "unknown-channel", "unknown channel";
    /// No such image in the channel.
    UnknownImage = "unknown-image", "unknown image";
    /// The project refers to no blob of this digest.
    UnknownBlob = "unknown-blob", "unknown blob";
    /// The job has no snapshot, or the project has none of this digest.
    UnknownSnapshot = "unknown-snapshot", "unknown snapshot";
    /// No such file in the snapshot.
    UnknownFile = "unknown-file", "unknown file";
    /// The key, name or id is taken by something else.
    Taken = "taken", "already taken";
    /// The job was made on this server itself, so nothing is imported into it.
    MadeHere = "made-here", "made on this server";
    /// A channel of this name exists with another kind.
    ChannelKindDiffers = "channel-kind-differs", "channel exists with another kind";
    /// The job has more or fewer points than those behind which an import goes on: somebody else added to it.
    CountDiffers = "count-differs", "count of points differs";
    /// The uploaded bytes do not have the digest of the address.
    DigestDiffers = "digest-differs", "digest differs";
    /// The job's state does not allow it.
    StateRefused = "state-refused", "not possible in this state";
    /// A newer attempt of the job exists; the writer should end.
    Superseded = "superseded", "superseded by a newer attempt";
    /// The frame's checksum or layout is wrong.
    DamagedFrame = "damaged-frame", "damaged frame";
    /// A WebSocket message that is not in the protocol, or not now.
    ProtocolViolation = "protocol-violation", "protocol violation";
    /// No token, or one that is not valid.
    Unauthorized = "unauthorized", "not signed in";
    /// The token does not reach this far.
    Forbidden = "forbidden", "not allowed";
    /// The Host header names a host this server does not answer for.
    ForeignHost = "foreign-host", "foreign host";
    /// The Origin header names another site.
    ForeignOrigin = "foreign-origin", "foreign origin";
    /// The disk is full: reading works, writing resumes when there is space.
    ReadOnly = "read-only", "read-only, the disk is full";
    /// Not written; the same request may be sent again.
    Busy = "busy", "busy";
    /// No answer in time: it may or may not have been done. A request that carries its own id may be sent again.
    TimedOut = "timed-out", "no answer in time";
    /// The stored file is no image that can be decoded within the limits.
    NotAnImage = "not-an-image", "not an image";
    /// A fault of the server; its log says more.
    Internal = "internal", "internal fault";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_travel() {
        let mut seen = std::collections::HashSet::new();
        for code in Code::ALL {
            assert!(seen.insert(code.as_str()), "{} twice", code.as_str());
            let json = serde_json::to_string(code).unwrap();
            assert_eq!(json, format!("{:?}", code.as_str()));
            assert_eq!(serde_json::from_str::<Code>(&json).unwrap(), *code);
        }
        assert_eq!(serde_json::from_str::<Code>("\"of-a-newer-server\"").unwrap(), Code::Unknown);
    }
}
