//! Times and lengths of time as people write them: `2026-11-24`, `2026-11-24T10:30:00+01:00`, `-7d`, `1h30m`.

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;

/// Reads a length of time in microseconds: parts of a number and a unit (us, ms, s, m, h, d, w), a sign before them.
pub(crate) fn read_length(text: &str) -> Option<i64> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    let mut total = 0.0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        rest = &rest[end..];
        let end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let unit = match &rest[..end] {
            "us" => 1.0,
            "ms" => 1e3,
            "s" => 1e6,
            "m" | "min" => 60e6,
            "h" => 3_600e6,
            "d" => DAY as f64,
            "w" => 7.0 * DAY as f64,
            _ => return None,
        };
        total += number * unit;
        rest = &rest[end..];
    }
    let total = sign * total;
    // Beyond it no time of ours lies.
    (total.abs() < 9e18).then_some(total as i64)
}

/// Reads a moment in microseconds since the epoch: a date, or a date and a time, UTC unless an offset follows.
pub(crate) fn read_moment(text: &str) -> Option<i64> {
    let (date, time) = match text.split_once(['T', 't', ' ']) {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    let mut parts = date.split('-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || year.len() != 4 || month.len() != 2 || day.len() != 2 {
        return None;
    }
    let (year, month, day) = (digits(year)?, digits(month)?, digits(day)?);
    if !(1..=12).contains(&month) || !(1..=days_in_month(year, month)).contains(&day) {
        return None;
    }
    let midnight = days_from_civil(year, month, day) * DAY;
    Some(midnight + time.map_or(Some(0), read_time)?)
}

/// `10:30`, `10:30:00.5`, with `Z`, `+01:00` or nothing behind it.
fn read_time(text: &str) -> Option<i64> {
    let text = text.strip_suffix(['Z', 'z']).unwrap_or(text);
    let (clock, offset) = match text.rfind(['+', '-']) {
        Some(at) => {
            let sign = if text.as_bytes()[at] == b'-' { -1 } else { 1 };
            let (hours, minutes) = text[at + 1..].split_once(':')?;
            if hours.len() != 2 || minutes.len() != 2 {
                return None;
            }
            (&text[..at], sign * (digits(hours)? * 60 + digits(minutes)?) * 60 * SECOND)
        }
        None => (text, 0),
    };
    let mut parts = clock.split(':');
    let (hours, minutes) = (digits(parts.next()?)?, digits(parts.next()?)?);
    let seconds = parts.next().unwrap_or("0");
    if parts.next().is_some() || !seconds.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let seconds: f64 = seconds.parse().ok()?;
    if hours > 23 || minutes > 59 || !(0.0..60.0).contains(&seconds) {
        return None;
    }
    Some((hours * 60 + minutes) * 60 * SECOND + (seconds * SECOND as f64).round() as i64 - offset)
}

fn digits(text: &str) -> Option<i64> {
    let valid = !text.is_empty() && text.len() <= 4 && text.bytes().all(|byte| byte.is_ascii_digit());
    valid.then(|| text.parse().ok()).flatten()
}

fn days_in_month(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since the epoch, by Howard Hinnant's "chrono-Compatible Low-Level Date Algorithms".
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year - era * 400;
    let day_of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths() {
        for (text, micros) in [
            ("-7d", Some(-7 * DAY)),
            ("1h30m", Some(5_400 * SECOND)),
            ("1.5s", Some(1_500_000)),
            ("250ms", Some(250_000)),
            ("2w", Some(14 * DAY)),
            ("7", None),
            ("d", None),
            ("-", None),
            ("", None),
            ("5 d", None),
            ("99999999999999w", None),
        ] {
            assert_eq!(read_length(text), micros, "{text}");
        }
    }

    #[test]
    fn moments() {
        for (text, seconds) in [
            ("1970-01-01", Some(0)),
            ("2000-03-01", Some(951_868_800)),
            ("2026-11-24", Some(1_795_478_400)),
            ("2026-11-24T10:30", Some(1_795_516_200)),
            ("2026-11-24 10:30:05Z", Some(1_795_516_205)),
            ("2026-11-24T10:30:00+01:00", Some(1_795_512_600)),
            ("2024-02-29", Some(1_709_164_800)),
            ("2023-02-29", None),
            ("2026-13-01", None),
            ("26-01-01", None),
            ("2026-11-24T25:00", None),
            ("2026-11-24T10", None),
            ("now", None),
        ] {
            assert_eq!(read_moment(text), seconds.map(|seconds: i64| seconds * SECOND), "{text}");
        }
    }
}
