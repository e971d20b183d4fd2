//! Numbers, counts, sizes, durations and times as people read them; the same everywhere on the page.

const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// A number with at most six significant digits; a whole number with all of them.
pub fn number(value: f64) -> String {
    if value.is_nan() {
        return "NaN".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "∞" } else { "−∞" }.into();
    }
    let size = value.abs();
    if size == 0.0 {
        return "0".into();
    }
    if value.fract() == 0.0 && size < 1e15 {
        return format!("{}{}", if value < 0.0 { "-" } else { "" }, count(size as u64));
    }
    if (1e-4..1e7).contains(&size) {
        let before_point = size.log10().floor() as i32 + 1;
        let decimals = (6 - before_point).clamp(0, 9) as usize;
        return trim_zeros(&format!("{value:.decimals$}")).into();
    }
    let scientific = format!("{value:.4e}");
    match scientific.split_once('e') {
        Some((mantissa, exponent)) => format!("{}e{exponent}", trim_zeros(mantissa)),
        None => scientific,
    }
}

fn trim_zeros(digits: &str) -> &str {
    if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { digits }
}

/// A count with commas: `1,234,567`.
pub fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A count and its noun: `1 point`, `12,000 points`.
pub fn counted(value: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(value), if value == 1 { one } else { many })
}

/// A size in bytes, in powers of 1,024.
pub fn bytes(size: u64) -> String {
    let mut value = size as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1023.95 {
            let decimals = usize::from(unit != "B" && value < 99.95);
            return format!("{value:.decimals$} {unit}");
        }
        value /= 1024.0;
    }
    format!("{value:.1} TiB")
}

/// A command as one would type it into a POSIX shell: words with special characters are quoted.
pub fn command_line(words: &[String]) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./=:,@%+".contains(c);
    let quoted = |word: &String| match word.as_str() {
        "" => "''".into(),
        word if word.chars().all(plain) => word.to_owned(),
        word => format!("'{}'", word.replace('\'', r"'\''")),
    };
    words.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

/// A length of time in its two largest units; a clock that went back shows as nothing passed.
pub fn duration(micros: i64) -> String {
    let micros = micros.max(0);
    match micros {
        ..SECOND => format!("{} ms", micros / 1000),
        SECOND..MINUTE => format!("{} s", micros / SECOND),
        MINUTE..HOUR => format!("{} m {:02} s", micros / MINUTE, micros % MINUTE / SECOND),
        HOUR..DAY => format!("{} h {:02} m", micros / HOUR, micros % HOUR / MINUTE),
        _ => format!("{} d {:02} h", micros / DAY, micros % DAY / HOUR),
    }
}

/// How long ago it was, while that says more than a date; `None` from a day on.
pub fn age(micros: i64) -> Option<String> {
    match micros.max(0) {
        0..SECOND => Some("just now".into()),
        age @ SECOND..MINUTE => Some(format!("{} s ago", age / SECOND)),
        age @ MINUTE..HOUR => Some(format!("{} min ago", age / MINUTE)),
        age @ HOUR..DAY => Some(format!("{} h ago", age / HOUR)),
        _ => None,
    }
}

/// A point in time at so many minutes east of UTC, in parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Civil {
    /// Year, month, day.
    pub date: (i64, u32, u32),
    /// Hour, minute, second, microsecond.
    pub time: (u32, u32, u32, u32),
}

impl Civil {
    /// Splits microseconds since the epoch (Howard Hinnant's `civil_from_days`).
    pub fn at(micros: i64, minutes_east: i32) -> Self {
        let local = micros.saturating_add(i64::from(minutes_east) * MINUTE);
        let (days, rest) = (local.div_euclid(DAY), local.rem_euclid(DAY));
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * day_of_year + 2) / 153;
        let day = (day_of_year - (153 * from_march + 2) / 5 + 1) as u32;
        let month = if from_march < 10 { from_march + 3 } else { from_march - 9 } as u32;
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        let time = (
            (rest / HOUR) as u32,
            (rest % HOUR / MINUTE) as u32,
            (rest % MINUTE / SECOND) as u32,
            (rest % SECOND) as u32,
        );
        Self { date: (year, month, day), time }
    }
}

/// `2026-11-24 05:51:42`
pub fn date_time(micros: i64, minutes_east: i32) -> String {
    let Civil { date: (year, month, day), time: (hour, minute, second, _) } = Civil::at(micros, minutes_east);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
}

/// `2026-11-24 05:51`
pub fn date_minute(micros: i64, minutes_east: i32) -> String {
    let mut text = date_time(micros, minutes_east);
    text.truncate(text.len() - 3);
    text
}

/// `05:51:42.123`, for lines that lie milliseconds apart.
pub fn clock_time(micros: i64, minutes_east: i32) -> String {
    let (hour, minute, second, rest) = Civil::at(micros, minutes_east).time;
    format!("{hour:02}:{minute:02}:{second:02}.{:03}", rest / 1000)
}

/// The exact time with its zone: `2026-11-24 05:51:42 UTC+01:00`.
pub fn exact_time(micros: i64, minutes_east: i32) -> String {
    let sign = if minutes_east < 0 { '-' } else { '+' };
    let east = minutes_east.abs();
    let zone = if east == 0 { String::new() } else { format!("{sign}{:02}:{:02}", east / 60, east % 60) };
    format!("{} UTC{zone}", date_time(micros, minutes_east))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_six_digits_and_no_noise() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "0"),
            (1.0, "1"),
            (-1.0, "-1"),
            (-0.5, "-0.5"),
            (0.1 + 0.2, "0.3"),
            (123_456.789, "123457"),
            (-12_345.0, "-12,345"),
            (0.000_123_456_789, "0.000123457"),
            (1.234_567e-7, "1.2346e-7"),
            (1e100, "1e100"),
            (3e9, "3,000,000,000"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "−∞"),
        ] {
            assert_eq!(number(value), text, "{value:?}");
        }
    }

    #[test]
    fn counts_have_commas() {
        let shown: Vec<_> = [0, 7, 999, 1_000, 12_345, 1_234_567].into_iter().map(count).collect();
        assert_eq!(shown, ["0", "7", "999", "1,000", "12,345", "1,234,567"]);
        assert_eq!(counted(1, "point", "points"), "1 point");
    }

    #[test]
    fn sizes_change_unit_before_they_grow_long() {
        let shown: Vec<_> = [0, 1023, 1024, 1_048_570, 5 << 30].into_iter().map(bytes).collect();
        assert_eq!(shown, ["0 B", "1023 B", "1.0 KiB", "1.0 MiB", "5.0 GiB"]);
    }

    #[test]
    fn a_command_can_be_pasted() {
        let words = ["python", "main.py", "--note", "it's 5 %", "", "--lr=0.1"].map(String::from);
        assert_eq!(command_line(&words), r"python main.py --note 'it'\''s 5 %' '' --lr=0.1");
    }

    #[test]
    fn durations_show_two_units() {
        let shown: Vec<_> =
            [-5, 12_000, 4 * SECOND, 65 * SECOND, 2 * HOUR + 3 * MINUTE, 51 * HOUR].map(duration).into();
        assert_eq!(shown, ["0 ms", "12 ms", "4 s", "1 m 05 s", "2 h 03 m", "2 d 03 h"]);
    }

    #[test]
    fn an_age_becomes_a_date_after_a_day() {
        assert_eq!(age(-1).as_deref(), Some("just now"));
        assert_eq!(age(61 * SECOND).as_deref(), Some("1 min ago"));
        assert_eq!(age(DAY), None);
    }

    #[test]
    fn dates_are_right_around_leap_days_and_zones() {
        assert_eq!(date_time(0, 0), "1970-01-01 00:00:00");
        assert_eq!(date_time(951_782_400 * SECOND, 0), "2000-02-29 00:00:00");
        assert_eq!(date_time(951_868_799 * SECOND, 60), "2000-03-01 00:59:59");
        assert_eq!(date_time(-1, 0), "1969-12-31 23:59:59");
        assert_eq!(exact_time(0, -330), "1969-12-31 18:30:00 UTC-05:30");
        assert_eq!(clock_time(1_234_567, 0), "00:00:01.234");
        assert_eq!(date_minute(0, 0), "1970-01-01 00:00");
    }
}
