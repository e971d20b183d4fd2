//! Ids: what a job, an attempt, a session and a piece of content are called.
//!
//! A job has two names: its [`JobUid`] (128 bits, made by whoever creates the job, and the idempotency key of the
//! create) and its [`JobId`] (`TRIG-12`, given by the server). Every place that takes a job takes a [`JobRef`].

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::name::ProjectKey;

/// Why a text is no id: what was found and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is not {wanted}")]
pub struct IdError {
    /// The text as it came, cut to 80 characters.
    pub found: String,
    /// What would be right, with an example.
    pub wanted: &'static str,
}

fn refused(found: &str, wanted: &'static str) -> IdError {
    IdError { found: found.chars().take(80).collect(), wanted }
}

/// Serialises a type through its `Display` and `FromStr`.
macro_rules! as_text {
    ($name:ident, $example:literal) => {
        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        #[cfg(feature = "openapi")]
        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                utoipa::openapi::ObjectBuilder::new()
                    .schema_type(utoipa::openapi::schema::Type::String)
                    .examples([serde_json::Value::from($example)])
                    .into()
            }
        }

        #[cfg(feature = "openapi")]
        impl utoipa::ToSchema for $name {}
    };
}
pub(crate) use as_text;

/// Defines a 128-bit id written as 32 lower-case hexadecimal digits.
macro_rules! id128 {
    ($(#[$doc:meta])* $name:ident, $wanted:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 16]);

        impl $name {
            /// Wraps 16 bytes; whoever makes one takes them from a good source of randomness or a hash.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// The 16 bytes.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(f, &self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                parse_hex(text).map(Self).ok_or_else(|| refused(text, $wanted))
            }
        }

        as_text!($name, "5f2b8c0e9d7a4f61b3c2d1e0f9a8b7c6");
    };
}

id128!(
    /// A job's own id: 128 bits made by the client that creates it, so that creating twice is creating once.
    JobUid,
    "a job uid (32 hexadecimal digits)"
);
id128!(
    /// One writer of one attempt; it numbers its frames from 1 without gaps.
    SessionId,
    "a session id (32 hexadecimal digits)"
);
id128!(
    /// Chosen by a client that claims a job, so that repeating the claim answers the same token.
    ClaimId,
    "a claim id (32 hexadecimal digits)"
);

/// BLAKE3 digest of a blob's bytes, written as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Wraps the 32 bytes of a BLAKE3 hash.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl FromStr for Digest {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        parse_hex(text).map(Self).ok_or_else(|| refused(text, "a BLAKE3 digest (64 hexadecimal digits)"))
    }
}

as_text!(Digest, "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262");

/// The highest number a job may have: JSON readers that know doubles alone still tell it from the one before.
pub const JOB_NUMBER_MAX: u64 = (1 << 53) - 1;

/// A job as people call it: project key and number, `TRIG-12`. Numbers start at 1, and a job that is made gets one that was
/// never given. An imported job keeps its own unless another job has it, so it may get one back that was removed.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId {
    /// The project's key.
    pub project: ProjectKey,
    /// Counts the project's jobs from 1.
    pub number: u64,
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.project, self.number)
    }
}

impl FromStr for JobId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let wrong = || refused(text, "a job id such as TRIG-12");
        let (key, number) = text.rsplit_once('-').ok_or_else(wrong)?;
        let project = ProjectKey::new(key).map_err(|_| wrong())?;
        let plain = !number.starts_with('0') && number.bytes().all(|digit| digit.is_ascii_digit());
        let number = number.parse().ok().filter(|_| plain).ok_or_else(wrong)?;
        Ok(Self { project, number })
    }
}

as_text!(JobId, "TRIG-12");

/// Names a job by its id or by its uid.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum JobRef {
    /// `TRIG-12`
    Id(JobId),
    /// 32 hexadecimal digits
    Uid(JobUid),
}

impl fmt::Display for JobRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => fmt::Display::fmt(id, f),
            Self::Uid(uid) => fmt::Display::fmt(uid, f),
        }
    }
}

impl FromStr for JobRef {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        if let Ok(uid) = text.parse() {
            return Ok(Self::Uid(uid));
        }
        text.parse()
            .map(Self::Id)
            .map_err(|_| refused(text, "a job id such as TRIG-12 or a job uid (32 hexadecimal digits)"))
    }
}

as_text!(JobRef, "TRIG-12");

impl From<JobUid> for JobRef {
    fn from(uid: JobUid) -> Self {
        Self::Uid(uid)
    }
}

impl From<JobId> for JobRef {
    fn from(id: JobId) -> Self {
        Self::Id(id)
    }
}

/// The number of one try of a job, from 1; also the fencing token: a write of an older attempt is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(transparent)]
pub struct AttemptNumber(pub u32);

impl fmt::Display for AttemptNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

fn parse_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != 2 * N || !text.is_ascii() {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let digit = |c: u8| (c as char).to_digit(16);
        *byte = (digit(pair[0])? * 16 + digit(pair[1])?) as u8;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_named_by_id_or_uid() {
        assert_eq!("TRIG-12".parse::<JobRef>().unwrap().to_string(), "TRIG-12");
        let uid = "5f2b8c0e9d7a4f61b3c2d1e0f9a8b7c6";
        assert!(matches!(uid.parse(), Ok(JobRef::Uid(_))));
        assert_eq!(uid.parse::<JobRef>().unwrap().to_string(), uid);
    }

    #[test]
    fn what_is_no_job_says_what_would_be() {
        for wrong in [
            "",
            "TRIG",
            "TRIG-",
            "TRIG-0",
            "TRIG-01",
            "TRIG--1",
            "trig-1",
            "TRIG-+1",
            "5f2b",
            "TRIG-99999999999999999999999",
        ] {
            let error = wrong.parse::<JobRef>().unwrap_err();
            assert!(error.to_string().contains("TRIG-12"), "{error}");
        }
    }

    #[test]
    fn ids_are_text_in_json() {
        let digest = Digest::from_bytes([0xab; 32]);
        let json = serde_json::to_string(&digest).unwrap();
        assert_eq!(json, format!("\"{}\"", "ab".repeat(32)));
        assert_eq!(serde_json::from_str::<Digest>(&json).unwrap(), digest);
        assert!(serde_json::from_str::<Digest>("\"zz\"").is_err());
    }
}
