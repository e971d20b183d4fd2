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
        prop_assert_eq!(view.len(), points.len());
        for (at, (x, y)) in points.iter().enumerate() {
            let found = view.point(at);
            prop_assert_eq!((found.0.to_bits(), found.1.to_bits()), (x.to_bits(), y.to_bits()));
        }
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

    #[test]
    fn order_of_x_is_a_stable_sort_however_it_grew(
        points in prop::collection::vec((nasty(), Just(0.0)), 1..80),
        known in any::<prop::sample::Index>(),
    ) {
        let all = head(&points, 7);
        let mut part = head(&points[..known.index(points.len())], 7).view();
        part.order = Some(std::sync::Arc::new(XOrder::of_view(&part)));
        let grown = NumericView { order: part.order, ..all.view() };
        let mut expected: Vec<u32> = (0..points.len() as u32).collect();
        let x = |at: &u32| points[*at as usize].0;
        expected.sort_by(|a, b| match (x(a).is_nan(), x(b).is_nan()) {
            (false, false) => x(a).partial_cmp(&x(b)).unwrap(),
            (a, b) => a.cmp(&b),
        });
        let order = XOrder::of_view(&grown);
        prop_assert_eq!(order.arrivals(), &expected);
        prop_assert_eq!(all.view().ordered, expected.is_sorted());
    }
}

#[test]
fn blocks_are_full_but_for_the_last_and_views_stay_as_they_were() {
    let points: Vec<(f64, f64)> = (0..3 * BLOCK_POINTS as u32 + 5).map(|i| (f64::from(i), 1.0)).collect();
    let mut head = head(&points, 1_000);
    let before = head.view();
    let sizes: Vec<usize> = before.blocks().map(|block| block.len()).collect();
    assert_eq!(sizes, [BLOCK_POINTS, BLOCK_POINTS, BLOCK_POINTS, 5]);
    let copied = head.copy(BLOCK_POINTS as u64 - 1..2 * BLOCK_POINTS as u64 + 1);
    assert_eq!(copied.x.len(), BLOCK_POINTS + 2);
    assert!(copied.x.iter().zip(BLOCK_POINTS - 1..).all(|(x, at)| *x == at as f64));
    let mut frame = FrameBuilder::new(SessionId::from_bytes([1; 16]), 1);
    frame.push_numeric(0, &[1.0], &[2.0], &[3]);
    let bytes = frame.finish();
    let FrameBlock::Numeric(one) = parse(&bytes).unwrap().blocks[0].1 else { panic!("a numeric block") };
    head.append(&one);
    assert_eq!((before.len(), head.len()), (points.len(), points.len() as u64 + 1));
}

#[test]
fn the_mean_of_the_largest_numbers_is_finite() {
    let points = [(0.0, f64::MAX), (1.0, f64::MAX), (2.0, f64::INFINITY), (3.0, f64::NAN)];
    let mean = head(&points, 4).summary().mean.unwrap().0;
    assert!((mean / f64::MAX - 1.0).abs() < 1e-12, "{mean}");
}
