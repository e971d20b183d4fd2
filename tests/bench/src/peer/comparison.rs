//! What a peer did beside what Neptune did, and how many times better Neptune was.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::Peer;
use crate::report::short;

/// What a `NAME_peer.py` writes.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Measured {
    version: String,
    /// By the names in [`MEASURES`].
    numbers: BTreeMap<String, f64>,
    /// Step of the work, and why it has no numbers or not quite those.
    lacking: BTreeMap<String, String>,
}

/// How a number is to be read.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    /// Less is better.
    Cost,
    /// More is better.
    Rate,
    /// Neither.
    Fact,
    /// 1 or 0.
    Truth,
}

/// Name in JSON, what it is, its unit.
const MEASURES: [(&str, &str, &str, Kind); 14] = [
    ("log_p50_micros", "one log call, p50", "us", Kind::Cost),
    ("log_p99_micros", "one log call, p99", "us", Kind::Cost),
    ("queued_p50_micros", "one log call that returns before it is stored, p50", "us", Kind::Cost),
    ("queued_p99_micros", "one log call that returns before it is stored, p99", "us", Kind::Cost),
    ("ingest_points_per_sec", "100 k points of one metric, first call to stored", "points/s", Kind::Rate),
    ("bytes_per_point", "on disk afterwards", "bytes/point", Kind::Cost),
    ("chart_cold_millis", "chart of 100 k points, first of a server", "ms", Kind::Cost),
    ("chart_warm_millis", "chart of 100 k points, asked again", "ms", Kind::Cost),
    ("chart_values", "values in that chart", "", Kind::Fact),
    ("spike_kept", "a spike of one point is among them", "", Kind::Truth),
    ("table_warm_millis", "table of runs, filter and sort by metrics", "ms", Kind::Cost),
    ("table_runs", "runs in that table", "", Kind::Fact),
    ("start_seconds", "start to first 200", "s", Kind::Cost),
    ("idle_mib", "idle resident memory of all processes", "MiB", Kind::Cost),
];

/// One peer beside Neptune.
#[derive(Debug, Serialize)]
pub(crate) struct Comparison {
    peer: &'static str,
    version: String,
    measures: Vec<Measure>,
    lacking: BTreeMap<String, String>,
    /// What Neptune could not do.
    ours_lacking: BTreeMap<String, String>,
}

#[derive(Debug, Serialize)]
struct Measure {
    name: &'static str,
    unit: &'static str,
    #[serde(skip)]
    what: &'static str,
    #[serde(skip)]
    kind: Kind,
    theirs: Option<f64>,
    ours: Option<f64>,
    /// How many times better Neptune is.
    ratio: Option<f64>,
}

impl Comparison {
    /// Puts both side by side.
    pub(crate) fn new(peer: Peer, theirs: Measured, ours: &Measured) -> Self {
        let measure = |(name, what, unit, kind): (&'static str, _, _, Kind)| {
            let (theirs, ours) = (theirs.numbers.get(name).copied(), ours.numbers.get(name).copied());
            let ratio = theirs.zip(ours).and_then(|(theirs, ours)| match kind {
                Kind::Cost => Some(theirs / ours),
                Kind::Rate => Some(ours / theirs),
                Kind::Fact | Kind::Truth => None,
            });
            Measure { name, unit, what, kind, theirs, ours, ratio }
        };
        Self {
            peer: peer.name(),
            measures: MEASURES.into_iter().map(measure).collect(),
            version: theirs.version,
            lacking: theirs.lacking,
            ours_lacking: ours.lacking.clone(),
        }
    }

    /// The table of this peer.
    pub(crate) fn table(&self) -> String {
        let mut text = String::new();
        let heading = format!("beside {} {}", self.peer, self.version);
        let _ =
            writeln!(text, "\n{heading:<50}  {:>10}  {:>10}  {:>12}", "theirs", "Neptune", "times better");
        for measure in &self.measures {
            let write = |value: Option<f64>| match (value, measure.kind) {
                (None, _) => "-".into(),
                (Some(value), Kind::Truth) => if value == 1.0 { "yes" } else { "no" }.into(),
                (Some(value), Kind::Fact) => format!("{value:.0}"),
                (Some(value), _) => short(value),
            };
            let (theirs, ours) = (write(measure.theirs), write(measure.ours));
            let ratio = measure.ratio.map_or(String::new(), short);
            let (what, unit) = (measure.what, measure.unit);
            let _ = writeln!(text, "{what:<50}  {theirs:>10}  {ours:>10}  {ratio:>12}  {unit}");
        }
        for (who, lacking) in [(self.peer, &self.lacking), ("Neptune", &self.ours_lacking)] {
            for (step, why) in lacking {
                let _ = writeln!(text, "  {who}, {step}: {why}");
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(json: &str) -> Measured {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_ratio_says_how_many_times_better_we_are() {
        let theirs = measured(
            r#"{"version": "1.0", "lacking": {"table": "does not sort"}, "numbers":
               {"log_p50_micros": 30, "ingest_points_per_sec": 1000, "spike_kept": 0, "idle_mib": 5}}"#,
        );
        let ours = measured(
            r#"{"version": "0.1", "lacking": {}, "numbers":
               {"log_p50_micros": 0.5, "ingest_points_per_sec": 4000, "spike_kept": 1}}"#,
        );
        let comparison = Comparison::new(Peer::Aim, theirs, &ours);
        let ratio = |name| comparison.measures.iter().find(|measure| measure.name == name).unwrap().ratio;
        assert_eq!(ratio("log_p50_micros"), Some(60.0));
        assert_eq!(ratio("ingest_points_per_sec"), Some(4.0));
        assert_eq!(ratio("idle_mib"), None, "what one of them lacks has no ratio");
        assert_eq!(ratio("spike_kept"), None);
        let table = comparison.table();
        for part in ["beside aim 1.0", "aim, table: does not sort"] {
            assert!(table.contains(part), "{table}");
        }
        let spike = table.lines().find(|line| line.contains("spike")).unwrap();
        assert!(spike.contains("no") && spike.contains("yes"), "{spike}");
        let json = serde_json::to_value(&comparison).unwrap();
        assert_eq!(json["measures"][0]["ratio"], 60.0);
        assert_eq!(json["lacking"]["table"], "does not sort");
    }
}
