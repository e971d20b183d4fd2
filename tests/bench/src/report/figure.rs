//! One measured figure: a value or a median with its 99th percentile, and what it is held against.

use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

/// What we aim at, and what counts as a bug.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Goal {
    /// What we aim at.
    pub target: f64,
    /// What counts as a bug.
    pub floor: f64,
}

/// One measured figure of a row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Figure {
    /// The row in the table of targets.
    pub row: u32,
    /// What was measured, with its conditions.
    pub what: String,
    /// In `unit`; of many times the median.
    pub value: f64,
    /// Of many times.
    pub p99: Option<f64>,
    /// `points/s`, `us`, `ms`, `MB`.
    pub unit: &'static str,
    /// None where the table of targets has none.
    goal: Option<Goal>,
    p99_goal: Option<Goal>,
    more_is_better: bool,
    /// Why the value is not to be held against the goal.
    unjudged: Option<String>,
    /// The value of each repeated run.
    runs: Vec<f64>,
}

impl Figure {
    /// A figure of which more is better.
    pub(crate) fn rate(row: u32, what: impl Into<String>, value: f64, unit: &'static str) -> Self {
        let (goal, p99_goal, unjudged) = (None, None, None);
        let what = what.into();
        Self {
            row,
            what,
            value,
            p99: None,
            unit,
            goal,
            p99_goal,
            more_is_better: true,
            unjudged,
            runs: vec![],
        }
    }

    /// A figure of which less is better.
    pub(crate) fn cost(row: u32, what: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self { more_is_better: false, ..Self::rate(row, what, value, unit) }
    }

    /// The median and the 99th percentile of times in any order.
    pub(crate) fn times(row: u32, what: impl Into<String>, times: &[f64], unit: &'static str) -> Self {
        let mut times = times.to_vec();
        times.sort_by(f64::total_cmp);
        let p99 = Some(quantile(&times, 0.99));
        Self { p99, ..Self::cost(row, what, quantile(&times, 0.5), unit) }
    }

    /// Holds the value against a goal.
    pub(crate) fn aiming(self, goal: Goal) -> Self {
        Self { goal: Some(goal), ..self }
    }

    /// Holds the 99th percentile against a goal.
    pub(crate) fn aiming_p99(self, goal: Goal) -> Self {
        Self { p99_goal: Some(goal), ..self }
    }

    /// Says why the value must not be held against the goal.
    pub(crate) fn unjudged(self, why: impl Into<String>) -> Self {
        Self { unjudged: Some(why.into()), ..self }
    }

    /// `target`, `floor`, `BELOW`, why it is none of these, or `-` where there is no goal. The worse of value and p99 counts.
    pub(crate) fn verdict(&self) -> &str {
        const WORDS: [&str; 4] = ["-", "target", "floor", "BELOW"];
        if let Some(why) = &self.unjudged {
            return why;
        }
        let rank = |value: Option<f64>, goal: Option<Goal>| {
            let (Some(value), Some(goal)) = (value, goal) else { return 0 };
            // As it is printed: of what is sent at the very pace of a target the last is always still on its way.
            let value = to_three_digits(value);
            let reached = |goal: f64| if self.more_is_better { value >= goal } else { value <= goal };
            match (reached(goal.target), reached(goal.floor)) {
                (true, _) => 1,
                (false, true) => 2,
                (false, false) => 3,
            }
        };
        WORDS[rank(Some(self.value), self.goal).max(rank(self.p99, self.p99_goal))]
    }

    /// Says of how many runs this is the median, to be put behind the verdict; the name stays the same, to be compared.
    pub(crate) fn repeated(&self) -> String {
        match self.runs.len() {
            0 | 1 => String::new(),
            count => format!(", median of {count} runs"),
        }
    }

    /// Target and floor as they are printed: of the value, and after a slash of p99.
    pub(crate) fn goals(&self, write: impl Fn(f64) -> String) -> (String, String) {
        let both = |part: fn(&Goal) -> f64| {
            let goals = [self.goal, self.p99_goal];
            let texts = goals.iter().map(|goal| goal.as_ref().map_or("-".into(), |goal| write(part(goal))));
            match goals {
                [None, None] => String::new(),
                [_, None] => texts.take(1).collect(),
                _ => texts.collect::<Vec<_>>().join(" / "),
            }
        };
        (both(|goal| goal.target), both(|goal| goal.floor))
    }
}

impl Serialize for Figure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("row", &self.row)?;
        map.serialize_entry("what", &self.what)?;
        map.serialize_entry("unit", self.unit)?;
        map.serialize_entry("value", &self.value)?;
        map.serialize_entry("p99", &self.p99)?;
        map.serialize_entry("goal", &self.goal)?;
        map.serialize_entry("p99_goal", &self.p99_goal)?;
        map.serialize_entry("more_is_better", &self.more_is_better)?;
        map.serialize_entry("verdict", self.verdict())?;
        map.serialize_entry("runs", &self.runs)?;
        map.end()
    }
}

/// Makes one set of figures of several runs of a row: the run with the median value stands for all, figure by figure.
pub(crate) fn merge(runs: Vec<Vec<Figure>>) -> Vec<Figure> {
    let count = runs.iter().map(Vec::len).min().unwrap_or(0);
    (0..count)
        .map(|index| {
            let mut same: Vec<Figure> = runs.iter().map(|run| run[index].clone()).collect();
            let values: Vec<f64> = same.iter().map(|figure| figure.value).collect();
            same.sort_by(|a, b| a.value.total_cmp(&b.value));
            let mut median = same.swap_remove((same.len() - 1) / 2);
            median.runs = values;
            median
        })
        .collect()
}

/// The value below which the given part of the sorted values lies.
pub(crate) fn quantile(sorted: &[f64], part: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get((part * last as f64).round() as usize).copied().unwrap_or(f64::NAN)
}

/// The value with three significant digits.
fn to_three_digits(value: f64) -> f64 {
    format!("{value:.2e}").parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOAL: Goal = Goal { target: 10.0, floor: 100.0 };

    #[test]
    fn quantiles_are_values_that_occurred() {
        let values: Vec<f64> = (0..=100).map(f64::from).collect();
        assert_eq!(quantile(&values, 0.0), 0.0);
        assert_eq!(quantile(&values, 0.5), 50.0);
        assert_eq!(quantile(&values, 0.99), 99.0);
        assert_eq!(quantile(&values, 1.0), 100.0);
        assert_eq!(quantile(&[7.0], 0.99), 7.0);
        assert!(quantile(&[], 0.5).is_nan());
    }

    #[test]
    fn a_verdict_is_the_worse_of_value_and_p99() {
        let times = |values: &[f64]| Figure::times(7, "chart", values, "ms").aiming(GOAL).aiming_p99(GOAL);
        assert_eq!(times(&[9.0, 8.0, 10.0]).verdict(), "target");
        assert_eq!(times(&[9.0, 8.0, 11.0]).verdict(), "floor");
        assert_eq!(times(&[9.0, 8.0, 101.0]).verdict(), "BELOW");
        assert_eq!(times(&[]).verdict(), "BELOW", "nothing measured is no success");
        assert_eq!(Figure::cost(7, "chart", 9.0, "ms").verdict(), "-");
        assert_eq!(times(&[1.0]).unjudged("not sealed").verdict(), "not sealed");
    }

    #[test]
    fn of_a_rate_more_is_better() {
        let rate =
            |value| Figure::rate(1, "ingest", value, "points/s").aiming(Goal { target: 3e6, floor: 1e6 });
        assert_eq!(rate(3e6).verdict(), "target");
        assert_eq!(rate(2.9951e6).verdict(), "target", "which is printed as 3.00 M");
        assert_eq!(rate(2.9949e6).verdict(), "floor");
        assert_eq!(rate(1e6).verdict(), "floor");
        assert_eq!(rate(0.9e6).verdict(), "BELOW");
        assert_eq!(rate(f64::NAN).verdict(), "BELOW");
    }

    #[test]
    fn the_median_run_stands_for_all() {
        let run = |value| vec![Figure::rate(1, "ingest", value, "points/s")];
        let merged = merge(vec![run(3.0), run(1.0), run(2.0)]);
        assert_eq!(merged[0].value, 2.0);
        assert_eq!(merged[0].runs, [3.0, 1.0, 2.0]);
        assert_eq!(merged[0].repeated(), ", median of 3 runs");
        assert_eq!(merge(vec![run(3.0)])[0].repeated(), "");
    }

    #[test]
    fn goals_are_printed_for_value_and_p99() {
        let write = |value: f64| format!("{value}");
        let figure = Figure::times(7, "chart", &[1.0], "ms");
        assert_eq!(figure.goals(write), (String::new(), String::new()));
        let figure = figure.aiming(GOAL);
        assert_eq!(figure.goals(write), ("10".into(), "100".into()));
        let figure = figure.aiming_p99(Goal { target: 20.0, floor: 200.0 });
        assert_eq!(figure.goals(write), ("10 / 20".into(), "100 / 200".into()));
    }
}
