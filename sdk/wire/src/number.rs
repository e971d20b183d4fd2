//! Numbers as they travel in JSON: every f64, NaN and the infinities included, and microseconds.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An f64 in JSON: a shortest round-trip number, or one of the texts `"NaN"`, `"Infinity"`, `"-Infinity"`.
///
/// The bits of a NaN do not survive JSON; binary columns keep them.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Default)]
pub struct Number(pub f64);

impl Serialize for Number {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            value if value.is_finite() => serializer.serialize_f64(value),
            value if value.is_nan() => serializer.serialize_str("NaN"),
            value if value > 0.0 => serializer.serialize_str("Infinity"),
            _ => serializer.serialize_str("-Infinity"),
        }
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NumberVisitor)
    }
}

struct NumberVisitor;

impl serde::de::Visitor<'_> for NumberVisitor {
    type Value = Number;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number or one of \"NaN\", \"Infinity\", \"-Infinity\"")
    }

    fn visit_f64<E>(self, value: f64) -> Result<Number, E> {
        Ok(Number(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Number, E> {
        Ok(Number(value as f64))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Number, E> {
        Ok(Number(value as f64))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Number, E> {
        match text {
            "NaN" => Ok(Number(f64::NAN)),
            "Infinity" => Ok(Number(f64::INFINITY)),
            "-Infinity" => Ok(Number(f64::NEG_INFINITY)),
            _ => Err(E::invalid_value(serde::de::Unexpected::Str(text), &self)),
        }
    }
}

impl From<f64> for Number {
    fn from(value: f64) -> Self {
        Self(value)
    }
}

#[cfg(feature = "openapi")]
impl utoipa::PartialSchema for Number {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        utoipa::openapi::ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::SchemaType::from_iter([
                utoipa::openapi::schema::Type::Number,
                utoipa::openapi::schema::Type::String,
            ]))
            .description(Some("a number, or \"NaN\", \"Infinity\", \"-Infinity\""))
            .into()
    }
}

#[cfg(feature = "openapi")]
impl utoipa::ToSchema for Number {}

/// Microseconds since the Unix epoch, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(transparent)]
pub struct Micros(pub i64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_number_travels() {
        for (value, json) in [
            (0.1, "0.1"),
            (-0.0, "-0.0"),
            (5e-324, "5e-324"),
            (f64::NAN, "\"NaN\""),
            (f64::INFINITY, "\"Infinity\""),
            (f64::NEG_INFINITY, "\"-Infinity\""),
        ] {
            assert_eq!(serde_json::to_string(&Number(value)).unwrap(), json);
            let back: Number = serde_json::from_str(json).unwrap();
            assert!(back.0.to_bits() == value.to_bits() || back.0.is_nan() && value.is_nan(), "{json}");
        }
    }

    #[test]
    fn other_texts_are_refused_with_what_would_be_right() {
        let error = serde_json::from_str::<Number>("\"nan\"").unwrap_err().to_string();
        assert!(error.contains("\"NaN\""), "{error}");
    }

    proptest::proptest! {
        #[test]
        fn any_f64_survives_json(bits: u64) {
            let value = f64::from_bits(bits);
            let json = serde_json::to_string(&Number(value)).unwrap();
            let back: Number = serde_json::from_str(&json).unwrap();
            proptest::prop_assert!(back.0.to_bits() == bits || value.is_nan() && back.0.is_nan());
        }
    }
}
