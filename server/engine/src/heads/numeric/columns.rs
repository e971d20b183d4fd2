//! Open points of one block, in as few bytes as keep every bit: most channels count steps, hold what was born as f32, and
//! come within an hour.
//!
//! Memory: 8 bytes a point where all of that is so, up to 24 where nothing is.

use neptune_store::chunk::Points;

/// Columns of equal length.
#[derive(Debug, Default)]
pub(super) struct Columns {
    x: Steps,
    y: Values,
    time: Times,
}

#[derive(Debug)]
enum Steps {
    /// `first + stride * i` for each of so many.
    Affine {
        first: f64,
        stride: f64,
        count: usize,
    },
    All(Vec<f64>),
}

#[derive(Debug)]
enum Values {
    /// Each widens to the y that came.
    Narrow(Vec<f32>),
    All(Vec<f64>),
}

#[derive(Debug)]
enum Times {
    /// `base + delta` for each.
    Near {
        base: i64,
        deltas: Vec<u32>,
    },
    All(Vec<i64>),
}

impl Columns {
    pub(super) fn len(&self) -> usize {
        match &self.y {
            Values::Narrow(values) => values.len(),
            Values::All(values) => values.len(),
        }
    }

    pub(super) fn push(&mut self, x: f64, y: f64, time: i64) {
        self.x.push(x);
        self.y.push(y);
        self.time.push(time);
    }

    /// All of them, each bit as it came.
    pub(super) fn points(&self) -> Points {
        Points { x: self.x.all(), y: self.y.all(), time: self.time.all() }
    }
}

impl From<&Points> for Columns {
    fn from(points: &Points) -> Self {
        let mut columns = Self::default();
        for ((x, y), time) in points.x.iter().zip(&points.y).zip(&points.time) {
            columns.push(*x, *y, *time);
        }
        columns
    }
}

impl Default for Steps {
    fn default() -> Self {
        Self::Affine { first: 0.0, stride: 0.0, count: 0 }
    }
}

impl Steps {
    fn push(&mut self, x: f64) {
        match self {
            Self::All(all) => return all.push(x),
            Self::Affine { first, count: count @ 0, .. } => {
                (*first, *count) = (x, 1);
                return;
            }
            Self::Affine { first, stride, count } => {
                if *count == 1 {
                    *stride = x - *first;
                }
                // The first must come out as it is, too: a stride of NaN or infinity does not leave it so.
                let at = |place: usize| *first + *stride * place as f64;
                let is_next = at(*count).to_bits() == x.to_bits();
                if is_next && (*count > 1 || at(0).to_bits() == first.to_bits()) {
                    *count += 1;
                    return;
                }
                if *count == 1 {
                    *stride = 0.0;
                }
            }
        }
        let mut all = self.all();
        all.push(x);
        *self = Self::All(all);
    }

    fn all(&self) -> Vec<f64> {
        match self {
            // One is itself, whatever a multiplication would make of it.
            Self::Affine { first, count: 1, .. } => vec![*first],
            Self::Affine { first, stride, count } => {
                (0..*count).map(|place| first + stride * place as f64).collect()
            }
            Self::All(all) => all.clone(),
        }
    }
}

impl Default for Values {
    fn default() -> Self {
        Self::Narrow(Vec::new())
    }
}

impl Values {
    fn push(&mut self, y: f64) {
        let narrow = y as f32;
        match self {
            Self::All(all) => all.push(y),
            Self::Narrow(values) if f64::from(narrow).to_bits() == y.to_bits() => values.push(narrow),
            Self::Narrow(_) => {
                let mut all = self.all();
                all.push(y);
                *self = Self::All(all);
            }
        }
    }

    fn all(&self) -> Vec<f64> {
        match self {
            Self::Narrow(values) => values.iter().map(|value| f64::from(*value)).collect(),
            Self::All(all) => all.clone(),
        }
    }
}

impl Default for Times {
    fn default() -> Self {
        Self::Near { base: 0, deltas: Vec::new() }
    }
}

impl Times {
    fn push(&mut self, time: i64) {
        match self {
            Self::All(all) => return all.push(time),
            Self::Near { base, deltas } => {
                if deltas.is_empty() {
                    *base = time;
                }
                if let Some(delta) = time.checked_sub(*base).and_then(|delta| u32::try_from(delta).ok()) {
                    return deltas.push(delta);
                }
            }
        }
        let mut all = self.all();
        all.push(time);
        *self = Self::All(all);
    }

    fn all(&self) -> Vec<i64> {
        match self {
            Self::Near { base, deltas } => deltas.iter().map(|delta| base + i64::from(*delta)).collect(),
            Self::All(all) => all.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value() -> impl Strategy<Value = f64> {
        prop_oneof![
            3 => (-9i32..9).prop_map(f64::from),
            1 => any::<u64>().prop_map(f64::from_bits),
            1 => any::<f32>().prop_map(f64::from),
            1 => prop::sample::select(vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, 0.0, f64::MAX, 0.1]),
        ]
    }

    fn time() -> impl Strategy<Value = i64> {
        prop_oneof![
            3 => 0..1_000_i64,
            1 => any::<i64>(),
            1 => prop::sample::select(vec![i64::MIN, i64::MAX, 0, u32::MAX.into(), i64::from(u32::MAX) + 1]),
        ]
    }

    proptest! {
        #[test]
        fn every_bit_is_kept(
            rows in prop::collection::vec((value(), value(), time()), 0..40),
            steps in prop::option::of((value(), value(), 0..40_usize)),
        ) {
            let mut rows = rows;
            if let Some((first, stride, until)) = steps {
                for (at, row) in rows.iter_mut().enumerate().take(until) {
                    row.0 = first + stride * at as f64;
                }
            }
            let mut columns = Columns::default();
            for (at, (x, y, time)) in rows.iter().enumerate() {
                prop_assert_eq!(columns.len(), at);
                columns.push(*x, *y, *time);
                let points = columns.points();
                let same = |values: &[f64], of: fn(&(f64, f64, i64)) -> f64| {
                    values.iter().zip(&rows).all(|(value, row)| value.to_bits() == of(row).to_bits())
                };
                prop_assert!(points.x.len() == at + 1 && points.y.len() == at + 1 && points.time.len() == at + 1);
                prop_assert!(same(&points.x, |row| row.0) && same(&points.y, |row| row.1));
                prop_assert!(points.time.iter().zip(&rows).all(|(time, row)| *time == row.2));
            }
        }
    }
}
