//! Where an axis is marked and how the marks are written: steps of 1, 2 or 5 times a power of ten, no label twice.

/// Marks of an axis.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Ticks {
    /// Where.
    pub values: Vec<f64>,
    /// What is written there.
    pub labels: Vec<String>,
}

/// At most `at_most` marks between two finite ends; on whole numbers only if `whole`.
pub fn ticks(min: f64, max: f64, at_most: usize, whole: bool) -> Ticks {
    let range = max - min;
    let at_most = at_most.max(1);
    if !range.is_finite() || range <= 0.0 || range < min.abs().max(max.abs()) * 1e-12 {
        return Ticks::default();
    }
    let (mantissa, exponent) = step(range / at_most as f64, whole);
    // Multiples of a power of ten are divided, not multiplied by a fraction, so that 3 steps of 0.1 are 0.3.
    let at = |index: f64| match exponent {
        0.. => index * mantissa * 10f64.powi(exponent),
        _ => index * mantissa / 10f64.powi(-exponent),
    };
    let size = at(1.0);
    let first = (min / size).ceil();
    let count = (((max - first * size) / size).floor().max(-1.0) + 1.0) as usize;
    let values: Vec<f64> = (0..count.min(at_most + 1)).map(|index| at(first + index as f64)).collect();
    let largest = values.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
    let labels = values.iter().map(|value| label(*value, largest, exponent)).collect();
    Ticks { values, labels }
}

/// The smallest step of 1, 2 or 5 times a power of ten that is at least `least`.
fn step(least: f64, whole: bool) -> (f64, i32) {
    if whole && least <= 1.0 {
        return (1.0, 0);
    }
    let exponent = least.log10().floor() as i32;
    // A hair less, so that 0.02 / 4 is 0.005 and not more.
    let fraction = least / 10f64.powi(exponent) * (1.0 - 1e-9);
    match fraction {
        ..=1.0 => (1.0, exponent),
        ..=2.0 => (2.0, exponent),
        ..=5.0 => (5.0, exponent),
        _ => (1.0, exponent + 1),
    }
}

/// Writes a value so that steps of ten to the `exponent` can be told apart, in the unit that suits the largest one.
fn label(value: f64, largest: f64, exponent: i32) -> String {
    if value == 0.0 {
        return "0".into();
    }
    let thousands = (largest.log10() + 1e-9).floor() as i32 / 3;
    if largest >= 1e4 && thousands <= 4 {
        let unit = ["", "k", "M", "G", "T"][thousands as usize];
        let decimals = (3 * thousands - exponent).max(0) as usize;
        let scaled = value / 1000f64.powi(thousands);
        return format!("{}{unit}", trimmed(&format!("{scaled:.decimals$}")));
    }
    if !(1e-4..1e4).contains(&largest) {
        let power = value.abs().log10().floor() as i32;
        let decimals = (power - exponent).max(0) as usize;
        let text = format!("{value:.decimals$e}");
        return match text.split_once('e') {
            Some((digits, power)) => format!("{}e{power}", trimmed(digits)),
            None => text,
        };
    }
    let decimals = (-exponent).max(0) as usize;
    format!("{value:.decimals$}")
}

fn trimmed(digits: &str) -> &str {
    if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { digits }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(min: f64, max: f64, at_most: usize) -> String {
        ticks(min, max, at_most, false).labels.join(" ")
    }

    #[test]
    fn steps_are_round() {
        assert_eq!(shown(0.0, 1.0, 5), "0 0.2 0.4 0.6 0.8 1.0");
        assert_eq!(shown(-1.3, 1.3, 4), "-1 0 1");
        assert_eq!(shown(0.97, 0.99, 4), "0.970 0.975 0.980 0.985 0.990");
        assert_eq!(shown(3.0, 17.0, 5), "5 10 15");
    }

    #[test]
    fn large_and_small_values_stay_short() {
        assert_eq!(shown(0.0, 1e6, 5), "0 0.2M 0.4M 0.6M 0.8M 1M");
        assert_eq!(shown(0.0, 45_000.0, 5), "0 10k 20k 30k 40k");
        assert_eq!(shown(1_000_000.0, 1_000_040.0, 4), "1M 1.00001M 1.00002M 1.00003M 1.00004M");
        assert_eq!(shown(0.0, 3e-7, 3), "0 1e-7 2e-7 3e-7");
        assert_eq!(shown(0.0, 4e20, 4), "0 1e20 2e20 3e20 4e20");
    }

    #[test]
    fn steps_of_a_training_are_whole() {
        assert_eq!(ticks(1.0, 3.0, 8, true).labels.join(" "), "1 2 3");
        assert_eq!(ticks(0.0, 10.0, 5, true).labels.join(" "), "0 2 4 6 8 10");
    }

    #[test]
    fn no_range_has_no_marks() {
        for (min, max) in
            [(1.0, 1.0), (2.0, 1.0), (f64::NAN, 1.0), (0.0, f64::INFINITY), (1.0, 1.0 + f64::EPSILON)]
        {
            assert_eq!(ticks(min, max, 5, false), Ticks::default(), "{min} {max}");
        }
    }

    proptest::proptest! {
        #[test]
        fn marks_lie_in_range_and_differ(min in -1e9..1e9_f64, width in 1e-6..1e9_f64, at_most in 1..20_usize) {
            let max = min + width;
            let Ticks { values, labels } = ticks(min, max, at_most, false);
            proptest::prop_assert!(values.len() <= at_most + 1);
            for value in &values {
                proptest::prop_assert!(min - width * 1e-6 <= *value && *value <= max + width * 1e-6);
            }
            for pair in labels.windows(2) {
                proptest::prop_assert_ne!(&pair[0], &pair[1]);
            }
        }
    }
}
