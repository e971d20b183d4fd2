//! A head holds every bit that was sent, and says the truth about all of it.

use neptune_wire::SessionId;
use neptune_wire::frame::{Block as FrameBlock, FrameBuilder, parse};
use proptest::prelude::*;

use super::*;

/// A head filled in blocks of `step` points, as frames bring them.
fn head(points: &[(f64, f64)], step: usize) -> NumericHead {
    let mut head = NumericHead::default();
    for (at, points) in points.chunks(step).enumerate() {
        let x: Vec<f64> = points.iter().map(|point| point.0).collect();
        let y: Vec<f64> = points.iter().map(|point| point.1).collect();
        let time: Vec<i64> = (0..points.len()).map(|i| (at * step + i) as i64).collect();
        let mut from = 0;
        while from < x.len() {
            let mut frame = FrameBuilder::new(SessionId::from_bytes([1; 16]), 1);
            from += frame.push_numeric(0, &x[from..], &y[from..], &time[from..]);
            let bytes = frame.finish();
            let FrameBlock::Numeric(numeric) = parse(&bytes).unwrap().blocks[0].1 else {
                panic!("a numeric block")
            };
            head.append(&numeric);
        }
    }
    head
}

/// All open points of a view.
fn held(view: &NumericView) -> Points {
    let mut points = Points::default();
    view.open.iter().for_each(|block| points.extend(block, 0..block.len()));
    points
}

fn nasty() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => (-9i32..9).prop_map(f64::from),
        1 => any::<f64>(),
        1 => prop::sample::select(vec![f64::NAN, -f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, f64::MAX, f64::MIN]),
    ]
}

fn same(a: f64, b: f64) -> bool {
    a == b || a.is_nan() && b.is_nan()
}

proptest! {
    #[test]
    fn a_view_holds_every_bit_and_the_summary_is_true(
        points in prop::collection::vec((nasty(), nasty()), 1..100),
        step in 1..40_usize,
    ) {
        let head = head(&points, step);
        let view = head.view();
        prop_assert_eq!(view.len(), points.len() as u64);
        let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        let found = held(&view);
        let (x, y): (Vec<f64>, Vec<f64>) = points.iter().copied().unzip();
        prop_assert_eq!((bits(&found.x), bits(&found.y)), (bits(&x), bits(&y)));
        let summary = head.summary();
        let y: Vec<f64> = points.iter().map(|point| point.1).filter(|y| !y.is_nan()).collect();
        let least = |values: &[f64]| values.iter().copied().fold(f64::NAN, f64::min);
        let most = |values: &[f64]| values.iter().copied().fold(f64::NAN, f64::max);
        let x: Vec<f64> = points.iter().map(|point| point.0).collect();
        prop_assert_eq!((summary.count, summary.nan_count), (points.len() as u64, (points.len() - y.len()) as u64));
        prop_assert!(same(summary.min.map_or(f64::NAN, |min| min.0), least(&y)));
        prop_assert!(same(summary.max.map_or(f64::NAN, |max| max.0), most(&y)));
        prop_assert!(same(summary.x_min.map_or(f64::NAN, |min| min.0), least(&x)));
        prop_assert!(same(summary.x_max.map_or(f64::NAN, |max| max.0), most(&x)));
        prop_assert!(same(summary.last.unwrap().0, points[points.len() - 1].1));
        prop_assert!(same(summary.last_x.unwrap().0, points[points.len() - 1].0));
        prop_assert_eq!(summary.last_micros.unwrap().0, points.len() as i64 - 1);
        let finite: Vec<f64> = y.iter().copied().filter(|y| y.is_finite()).collect();
        let mean = finite.iter().map(|y| y / finite.len() as f64).sum::<f64>();
        match summary.mean {
            None => prop_assert!(finite.is_empty()),
            Some(found) => {
                let scale = finite.iter().map(|y| y.abs() / finite.len() as f64).sum::<f64>();
                prop_assert!((found.0 - mean).abs() <= scale * 1e-12, "{} is not {mean}", found.0);
            }
        }
    }
}

#[test]
fn blocks_are_full_but_for_the_last_and_views_stay_as_they_were() {
    let points: Vec<(f64, f64)> = (0..3 * BLOCK_POINTS as u32 + 5).map(|i| (f64::from(i), 1.0)).collect();
    let mut head = head(&points, 1_000);
    let before = head.view();
    let sizes: Vec<usize> = before.open.iter().map(|block| block.len()).collect();
    assert_eq!(sizes, [BLOCK_POINTS, BLOCK_POINTS, BLOCK_POINTS, 5]);
    let copied = head.copy(BLOCK_POINTS as u64 - 1..2 * BLOCK_POINTS as u64 + 1);
    assert_eq!(copied.x.len(), BLOCK_POINTS + 2);
    assert!(copied.x.iter().zip(BLOCK_POINTS - 1..).all(|(x, at)| *x == at as f64));
    let mut frame = FrameBuilder::new(SessionId::from_bytes([1; 16]), 1);
    frame.push_numeric(0, &[1.0], &[2.0], &[3]);
    let bytes = frame.finish();
    let FrameBlock::Numeric(one) = parse(&bytes).unwrap().blocks[0].1 else { panic!("a numeric block") };
    head.append(&one);
    assert_eq!((before.len(), head.len()), (points.len() as u64, points.len() as u64 + 1));
}

#[test]
fn the_mean_of_the_largest_numbers_is_finite() {
    let points = [(0.0, f64::MAX), (1.0, f64::MAX), (2.0, f64::INFINITY), (3.0, f64::NAN)];
    let mean = head(&points, 4).summary().mean.unwrap().0;
    assert!((mean / f64::MAX - 1.0).abs() < 1e-12, "{mean}");
}

#[test]
fn what_is_sealed_is_let_go_of_and_nothing_else() {
    let size = BLOCK_POINTS as u64;
    for first in [1, 5, size - 1, size, size + 1, 2 * size + 3] {
        for more in [0, 1, size, size + 7] {
            let points: Vec<(f64, f64)> = (0..first + more).map(|at| (at as f64, -(at as f64))).collect();
            let mut head = head(&points[..first as usize], 997);
            let state = NumericState { running: head.view().running, parts: vec![] };
            let later = &points[first as usize..];
            let columns = |at: fn(&(f64, f64)) -> f64| later.iter().map(at);
            head.extend(later.len(), columns(|point| point.0), columns(|point| point.1), 0..);
            head.seal(state);
            let view = head.view();
            assert_eq!((view.sealed, view.len(), head.open_count()), (first, first + more, more));
            assert!(held(&view).x.iter().zip(first..).all(|(x, at)| *x == at as f64));
            assert_eq!(held(&view).len() as u64, more);
            // Cut where the blocks of the channel are.
            let mut next = first;
            for block in &view.open {
                assert!(next / size == (next + block.len() as u64 - 1) / size);
                next += block.len() as u64;
            }
            assert_eq!(head.copy(first..first + more).x.len() as u64, more);
        }
    }
}
