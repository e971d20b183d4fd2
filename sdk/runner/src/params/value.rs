//! From text to a typed value: by the declared kind, or by the look of the text.

use neptune_wire::{Number, ParamValue};

/// The declared type of a param.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// true or false
    Boolean,
    /// 64-bit signed
    Integer,
    /// f64
    Double,
    /// UTF-8 text
    String,
}

impl Kind {
    /// Reads the names of 1.x (`int`, `double`, `string`, `boolean`) and their common synonyms.
    ///
    /// # Errors
    ///
    /// A sentence with the names that exist.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "boolean" | "bool" => Ok(Self::Boolean),
            "int" | "integer" => Ok(Self::Integer),
            "double" | "float" => Ok(Self::Double),
            "string" | "str" => Ok(Self::String),
            _ => Err(format!("{text:?} is no type; the types are int, double, string and boolean")),
        }
    }

    /// The kind of a value.
    pub fn of(value: &ParamValue) -> Self {
        match value {
            ParamValue::Boolean(_) => Self::Boolean,
            ParamValue::Integer(_) => Self::Integer,
            ParamValue::Double(_) => Self::Double,
            ParamValue::String(_) => Self::String,
        }
    }

    /// A value as one of this kind; `None` when it would not be the same value.
    pub(super) fn exactly(self, value: &ParamValue) -> Option<ParamValue> {
        match (self, value) {
            _ if self == Self::of(value) => Some(value.clone()),
            (Self::Double, ParamValue::Integer(integer)) => {
                let double = *integer as f64;
                // As integers of 128 bits: 2^63 is a double, and no integer of 64 bits.
                (double as i128 == i128::from(*integer)).then_some(ParamValue::Double(Number(double)))
            }
            _ => None,
        }
    }

    /// With its article: `an int`.
    pub fn described(self) -> &'static str {
        match self {
            Self::Boolean => "a boolean",
            Self::Integer => "an int",
            Self::Double => "a double",
            Self::String => "a string",
        }
    }

    /// Reads a value of this kind.
    ///
    /// # Errors
    ///
    /// A sentence with what would be right.
    pub fn value(self, text: &str) -> Result<ParamValue, String> {
        let trimmed = text.trim();
        let value = match self {
            Self::Boolean => parse_boolean(trimmed).map(ParamValue::Boolean),
            Self::Integer => trimmed.parse().ok().map(ParamValue::Integer),
            Self::Double => trimmed.parse().ok().map(|value| ParamValue::Double(Number(value))),
            Self::String => Some(ParamValue::String(text.into())),
        };
        value.ok_or_else(|| {
            let right = match self {
                Self::Boolean => "true or false (yes, no, 1 and 0 are taken too)",
                Self::Integer => "a whole number such as 5, between -2^63 and 2^63 - 1",
                Self::Double => "a number such as 2.5 or 1e-3",
                Self::String => "a text",
            };
            let grid = if is_grid(trimmed) { "; parameter grids are not run by this version" } else { "" };
            format!("{text:?} is not {}; give {right}{grid}", self.described())
        })
    }
}

/// Reads true/false, yes/no, 1/0, in any case.
pub fn parse_boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "1" => Some(true),
        "false" | "no" | "0" => Some(false),
        _ => None,
    }
}

/// Whether a text is a grid in the 2.x spelling: `(from, to, step)` or `[a, b, c]`.
pub(super) fn is_grid(text: &str) -> bool {
    let inside = |open, close| text.strip_prefix(open).and_then(|rest: &str| rest.strip_suffix(close));
    match (inside('(', ')'), inside('[', ']')) {
        (Some(range), _) => {
            let parts: Vec<_> = range.split(',').collect();
            parts.len() == 3 && parts.iter().all(|part| part.trim().parse::<f64>().is_ok())
        }
        (None, Some(_)) => true,
        (None, None) => false,
    }
}

/// A value without a declared kind; in quotes it is a text whatever it looks like.
pub(crate) struct ParamValueText<'a> {
    pub(crate) text: &'a str,
    pub(crate) quoted: bool,
}

impl ParamValueText<'_> {
    /// Guesses as the original did: boolean words, whole numbers, numbers, else text.
    ///
    /// # Errors
    ///
    /// A sentence, for a grid: as a text it would silently be one job with a strange value.
    pub(crate) fn guess(&self) -> Result<ParamValue, String> {
        let text = self.text.trim();
        if self.quoted {
            return Ok(ParamValue::String(self.text.into()));
        }
        if is_grid(text) || text.starts_with("%(") || text.starts_with("%[") {
            return Err(format!(
                "{text:?} is a parameter grid, which this version does not run; give one value, or put a text in quotes"
            ));
        }
        let word = text.to_ascii_lowercase();
        let looks_like_number = text.bytes().any(|byte| byte.is_ascii_digit())
            || matches!(word.trim_start_matches(['+', '-', '.']), "inf" | "nan");
        let number = word.strip_prefix('.').filter(|rest| matches!(*rest, "inf" | "nan")).unwrap_or(&word);
        Ok(match word.as_str() {
            "true" | "yes" => ParamValue::Boolean(true),
            "false" | "no" => ParamValue::Boolean(false),
            _ => match (text.parse::<i64>(), number.replace("-.inf", "-inf").parse::<f64>()) {
                (Ok(integer), _) => ParamValue::Integer(integer),
                (_, Ok(double)) if looks_like_number => ParamValue::Double(Number(double)),
                _ => ParamValue::String(self.text.into()),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_follow_their_kind() {
        assert_eq!(Kind::Double.value("2"), Ok(ParamValue::Double(Number(2.0))));
        assert_eq!(Kind::Double.value("1e-3"), Ok(ParamValue::Double(Number(0.001))));
        assert_eq!(Kind::Double.value("-inf"), Ok(ParamValue::Double(Number(f64::NEG_INFINITY))));
        assert_eq!(Kind::Integer.value("-9223372036854775808"), Ok(ParamValue::Integer(i64::MIN)));
        assert_eq!(Kind::Boolean.value("Yes"), Ok(ParamValue::Boolean(true)));
        assert_eq!(Kind::String.value(" 007 "), Ok(ParamValue::String(" 007 ".into())));
        for (kind, wrong) in [
            (Kind::Double, "abc"),
            (Kind::Double, ""),
            (Kind::Integer, "2.5"),
            (Kind::Integer, "9223372036854775808"),
            (Kind::Boolean, "2"),
        ] {
            assert!(kind.value(wrong).unwrap_err().contains("give"), "{wrong}");
        }
        assert!(Kind::Double.value("(0, 9, 1)").unwrap_err().contains("grids"));
    }

    #[test]
    fn a_value_becomes_another_kind_only_whole() {
        let double = |value| Some(ParamValue::Double(Number(value)));
        assert_eq!(Kind::Double.exactly(&ParamValue::Integer(-3)), double(-3.0));
        assert_eq!(Kind::Double.exactly(&ParamValue::Integer(1 << 60)), double((1_u64 << 60) as f64));
        for integer in [i64::MAX, (1 << 53) + 1] {
            assert_eq!(Kind::Double.exactly(&ParamValue::Integer(integer)), None, "{integer}");
        }
        assert_eq!(Kind::Integer.exactly(&ParamValue::Double(Number(2.0))), None);
        assert_eq!(Kind::String.exactly(&ParamValue::Integer(7)), None);
        assert_eq!(
            Kind::String.exactly(&ParamValue::String("7".into())),
            Some(ParamValue::String("7".into()))
        );
    }

    #[test]
    fn guesses_are_those_of_the_original() {
        let guess = |text| ParamValueText { text, quoted: false }.guess().unwrap();
        assert_eq!(guess("yes"), ParamValue::Boolean(true));
        assert_eq!(guess("1"), ParamValue::Integer(1));
        assert_eq!(guess("-0.5"), ParamValue::Double(Number(-0.5)));
        assert_eq!(guess("1e-3"), ParamValue::Double(Number(0.001)));
        assert_eq!(guess(".inf"), ParamValue::Double(Number(f64::INFINITY)));
        assert_eq!(guess("-.inf"), ParamValue::Double(Number(f64::NEG_INFINITY)));
        assert_eq!(guess("infinity"), ParamValue::String("infinity".into()));
        assert_eq!(guess("None"), ParamValue::String("None".into()));
        assert_eq!(guess("(512, 512)"), ParamValue::String("(512, 512)".into()));
        assert_eq!(
            ParamValueText { text: "[7, 8]", quoted: true }.guess(),
            Ok(ParamValue::String("[7, 8]".into()))
        );
        for grid in ["[7, 8]", "(0, 9, 1)", "%[a, b]", "%(0.1, 0.5, 0.1)"] {
            assert!(ParamValueText { text: grid, quoted: false }.guess().is_err(), "{grid}");
        }
    }
}
