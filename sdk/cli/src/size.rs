//! Sizes for people.

/// A number of bytes in three figures: `1.5 MB`.
pub(crate) fn of(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1_000.0;
        unit += 1;
    }
    let places = usize::from(unit > 0 && value < 9.95);
    format!("{value:.places$} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    #[test]
    fn sizes_read_well() {
        let shown = [0, 999, 1_000, 9_949, 9_950, 999_499, 1_500_000, u64::MAX].map(super::of);
        let expected = ["0 B", "999 B", "1.0 kB", "9.9 kB", "10 kB", "999 kB", "1.5 MB", "18446744 TB"];
        assert_eq!(shown, expected);
    }
}
