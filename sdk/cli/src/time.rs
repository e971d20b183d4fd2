//! Times and durations for people.

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use neptune_wire::{Job, Micros};

/// This machine's clock.
pub(crate) fn now() -> Micros {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    Micros(since.map_or(0, |since| since.as_micros() as i64))
}

/// A moment in the zone of this machine: `2016-11-24 17:03:05`.
pub(crate) fn moment(at: Micros) -> String {
    moment_in(at, TimeZone::system())
}

fn moment_in(at: Micros, zone: TimeZone) -> String {
    match Timestamp::from_microsecond(at.0) {
        Ok(time) => time.to_zoned_datetime(zone).strftime("%Y-%m-%d %H:%M:%S").to_string(),
        Err(_) => format!("{} µs", at.0),
    }
}

/// How long ago: `just now`, `5 min ago`.
pub(crate) fn ago(at: Micros) -> String {
    let seconds = (now().0 - at.0) / 1_000_000;
    if seconds < 5 { "just now".into() } else { format!("{} ago", span(seconds)) }
}

/// A length of time in its two largest units: `3 min 20 s`.
pub(crate) fn duration(from: Micros, to: Micros) -> String {
    let micros = (to.0 - from.0).max(0);
    if micros < 10_000_000 { format!("{:.1} s", micros as f64 / 1e6) } else { span(micros / 1_000_000) }
}

fn span(seconds: i64) -> String {
    const UNITS: [(&str, i64); 4] = [("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)];
    let first = UNITS.iter().position(|(_, length)| seconds >= *length).unwrap_or(UNITS.len() - 1);
    let (unit, length) = UNITS[first];
    let whole = format!("{} {unit}", seconds / length);
    match UNITS.get(first + 1).map(|(unit, below)| (unit, seconds % length / below)) {
        Some((unit, rest)) if rest > 0 => format!("{whole} {rest} {unit}"),
        _ => whole,
    }
}

/// How long a job ran, or runs until now.
pub(crate) fn run_time(job: &Job) -> Option<String> {
    let started = job.started_micros?;
    let ended = job.ended_micros.or((!job.state.is_ended()).then(now))?;
    Some(duration(started, ended))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_well() {
        assert_eq!(moment_in(Micros(1_480_000_000_000_000), TimeZone::UTC), "2016-11-24 15:06:40");
        assert_eq!(moment_in(Micros(i64::MAX), TimeZone::UTC), format!("{} µs", i64::MAX));
        let lasts = |seconds: f64| duration(Micros(0), Micros((seconds * 1e6) as i64));
        assert_eq!(lasts(0.04), "0.0 s");
        assert_eq!(lasts(9.96), "10.0 s");
        assert_eq!(lasts(60.0), "1 min");
        assert_eq!(lasts(200.0), "3 min 20 s");
        assert_eq!(lasts(86_400.0 * 3.0 + 7_200.0), "3 d 2 h");
        assert_eq!(duration(Micros(5), Micros(0)), "0.0 s");
    }
}
