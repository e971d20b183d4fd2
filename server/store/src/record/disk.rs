//! How nouns of the contract lie on disk, for `#[serde(with = …)]`: ids as bytes, choices as fixed numbers.
//!
//! A number once given to a choice stays its own for ever.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// A choice of the contract as one byte.
macro_rules! choice {
    ($module:ident, $type:ty, $name:literal, { $($variant:path = $code:literal),+ $(,)? }) => {
        pub(crate) mod $module {
            use super::*;

            pub(crate) fn serialize<S: Serializer>(value: &$type, serializer: S) -> Result<S::Ok, S::Error> {
                let code: u8 = match value { $($variant => $code),+ };
                code.serialize(serializer)
            }

            pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<$type, D::Error> {
                match u8::deserialize(deserializer)? {
                    $($code => Ok($variant),)+
                    _ => Err(D::Error::custom(concat!("unknown ", $name))),
                }
            }
        }
    };
}

choice!(state, neptune_wire::JobState, "job state", {
    neptune_wire::JobState::Created = 1,
    neptune_wire::JobState::Queued = 2,
    neptune_wire::JobState::Dispatched = 3,
    neptune_wire::JobState::Preparing = 4,
    neptune_wire::JobState::Running = 5,
    neptune_wire::JobState::Aborting = 6,
    neptune_wire::JobState::Succeeded = 7,
    neptune_wire::JobState::Failed = 8,
    neptune_wire::JobState::Aborted = 9,
    neptune_wire::JobState::Lost = 10,
});
choice!(kind, neptune_wire::ChannelKind, "channel kind", {
    neptune_wire::ChannelKind::Numeric = 1,
    neptune_wire::ChannelKind::Text = 2,
    neptune_wire::ChannelKind::Image = 3,
});
choice!(origin, neptune_wire::ChannelOrigin, "channel origin", {
    neptune_wire::ChannelOrigin::User = 1,
    neptune_wire::ChannelOrigin::System = 2,
    neptune_wire::ChannelOrigin::Stdout = 3,
    neptune_wire::ChannelOrigin::Stderr = 4,
});
choice!(line, neptune_wire::Line, "line", {
    neptune_wire::Line::Line = 1,
    neptune_wire::Line::Dot = 2,
});
choice!(direction, neptune_wire::job::Direction, "direction", {
    neptune_wire::job::Direction::Minimize = 1,
    neptune_wire::job::Direction::Maximize = 2,
});

/// An id as its bytes.
macro_rules! id {
    ($module:ident, $type:ty, $length:literal) => {
        pub(crate) mod $module {
            use super::*;

            pub(crate) fn serialize<S: Serializer>(value: &$type, serializer: S) -> Result<S::Ok, S::Error> {
                value.as_bytes().serialize(serializer)
            }

            pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<$type, D::Error> {
                <[u8; $length]>::deserialize(deserializer).map(<$type>::from_bytes)
            }
        }
    };
}

id!(job_uid, neptune_wire::JobUid, 16);
id!(claim_id, neptune_wire::id::ClaimId, 16);

/// An optional value as its mirror on disk.
pub(crate) mod mirrored {
    use super::*;

    pub(crate) fn option<'a, T, M, S>(value: &'a Option<T>, serializer: S) -> Result<S::Ok, S::Error>
    where
        M: From<&'a T> + Serialize,
        S: Serializer,
    {
        value.as_ref().map(M::from).serialize(serializer)
    }

    pub(crate) fn vec<'a, T, M, S>(values: &'a [T], serializer: S) -> Result<S::Ok, S::Error>
    where
        M: From<&'a T> + Serialize,
        S: Serializer,
    {
        serializer.collect_seq(values.iter().map(M::from))
    }

    pub(crate) fn read_option<'de, T, M, D>(deserializer: D) -> Result<Option<T>, D::Error>
    where
        M: Into<T> + Deserialize<'de>,
        D: Deserializer<'de>,
    {
        Ok(Option::<M>::deserialize(deserializer)?.map(M::into))
    }

    pub(crate) fn read_vec<'de, T, M, D>(deserializer: D) -> Result<Vec<T>, D::Error>
    where
        M: Into<T> + Deserialize<'de>,
        D: Deserializer<'de>,
    {
        Ok(Vec::<M>::deserialize(deserializer)?.into_iter().map(M::into).collect())
    }
}
