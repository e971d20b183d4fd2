//! Envelopes, of points that are sealed, open, or both, against all points by the plainest means.

use neptune_wire::query::{Axis, Edges, Scale};

use super::*;

const BLOCK: usize = neptune_store::chunk::BLOCK_POINTS;

/// How the keys of a channel go.
#[derive(Debug, Clone, Copy)]
enum Keys {
    Steps,
    /// Each x some hundred times, zeros of both signs among them.
    Repeated,
    /// Many close together, then some far apart, and again.
    Gapped,
    /// Each a part larger than the one before.
    Growing,
    /// Several writers, each a little ahead of or behind the others.
    Jittered,
    /// From the beginning again, several times.
    Epochs,
    Random,
    /// Steps, with NaN and infinities among them.
    Odd,
}

fn keys() -> impl Strategy<Value = Keys> {
    prop::sample::select(vec![
        Keys::Steps,
        Keys::Repeated,
        Keys::Gapped,
        Keys::Growing,
        Keys::Jittered,
        Keys::Epochs,
        Keys::Random,
        Keys::Odd,
    ])
}

/// SplitMix64.
fn noise(seed: u64, at: usize) -> u64 {
    let mut z = seed.wrapping_add((at as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Keys {
    fn of(self, seed: u64, at: usize) -> f64 {
        let random = noise(seed, at);
        match self {
            Keys::Steps => at as f64,
            Keys::Repeated if at < 300 && random.is_multiple_of(2) => -0.0,
            Keys::Repeated => (at / 300) as f64,
            Keys::Gapped => {
                let (round, within) = (at / (4 * BLOCK + 40), at % (4 * BLOCK + 40));
                let far = within.saturating_sub(4 * BLOCK) * 100_000;
                (round * 6_000_000 + within + far) as f64
            }
            Keys::Growing => 1.0005_f64.powi(at as i32),
            Keys::Jittered => (at as u64 + random % 40) as f64,
            Keys::Epochs => (at % 5_000) as f64,
            Keys::Random => (random % 10_000) as f64 - 3_000.0,
            Keys::Odd => match random % 5_000 {
                0 => f64::NAN,
                1 => f64::INFINITY,
                2 => f64::NEG_INFINITY,
                _ => at as f64,
            },
        }
    }
}

fn value(seed: u64, at: usize) -> f64 {
    match noise(!seed, at) % 2_000 {
        0 => f64::NAN,
        1 => f64::INFINITY,
        2 => 1e9,
        3 => -0.0,
        // Stretches of NaN alone.
        _ if (at / 700).is_multiple_of(7) => f64::NAN,
        random => (random as f64 * 0.01).sin(),
    }
}

fn same(a: f64, b: f64) -> bool {
    a == b || a.is_nan() && b.is_nan()
}

/// Checks an envelope against the points of its range, in order of (key, arrival).
fn check(found: &Envelope, mut points: Vec<(f64, f64)>, query: &EnvelopeQuery) {
    points.retain(|(key, _)| {
        !key.is_nan() && query.from.is_none_or(|from| *key >= from) && query.to.is_none_or(|to| *key <= to)
    });
    points.sort_by(|a, b| a.0.partial_cmp(&b.0).unwrap());
    assert!(found.count.len() <= query.buckets as usize);
    let mut rest = &points[..];
    for at in 0..found.count.len() {
        // Buckets follow each other in order of key, and together they hold every point of the range.
        let (points, later) = rest.split_at(found.count[at] as usize);
        rest = later;
        assert!(later.first().is_none_or(|point| point.0 > found.x_last[at].0));
        assert!(same(points[0].0, found.x_first[at].0), "{} {}", points[0].0, found.x_first[at].0);
        assert!(same(points[points.len() - 1].0, found.x_last[at].0));
        let values: Vec<f64> = points.iter().map(|point| point.1).filter(|y| !y.is_nan()).collect();
        assert_eq!(found.nan[at] as usize, points.len() - values.len());
        assert!(same(found.first[at].0, values.first().copied().unwrap_or(f64::NAN)), "first of bucket {at}");
        assert!(same(found.last[at].0, values.last().copied().unwrap_or(f64::NAN)), "last of bucket {at}");
        assert!(same(found.min[at].0, values.iter().copied().fold(f64::NAN, f64::min)));
        assert!(same(found.max[at].0, values.iter().copied().fold(f64::NAN, f64::max)));
    }
    assert!(rest.is_empty(), "{} points are in no bucket", rest.len());
}

/// Checks that no bucket is wider than even ones would be, by more than the one that [`Edges::Near`] leaves open.
fn check_widths(found: &Envelope, points: &[(f64, f64)], query: &EnvelopeQuery) {
    let ends = query.from.into_iter().chain(query.to);
    let inside = |key: f64| query.from.is_none_or(|from| key >= from) && query.to.is_none_or(|to| key <= to);
    let keys = points.iter().map(|point| point.0).filter(|key| inside(*key));
    let place = |key: f64| if query.scale == Scale::Log { key.ln() } else { key / 2.0 };
    let places: Vec<f64> = ends.chain(keys).map(place).collect();
    let low = places.iter().copied().fold(f64::INFINITY, f64::min);
    let high = places.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let buckets = query.buckets as usize;
    let bucket = |key: f64| match high > low {
        true => (((place(key) - low) / (high - low) * buckets as f64) as usize).min(buckets - 1),
        false => 0,
    };
    for (first, last) in found.x_first.iter().zip(&found.x_last) {
        let edges = bucket(last.0) - bucket(first.0);
        assert!(
            edges <= usize::from(query.edges == Edges::Near),
            "{} to {} is {edges} wide",
            first.0,
            last.0
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, max_shrink_iters: 60, ..ProptestConfig::default() })]

    #[test]
    fn every_bucket_is_exact_for_the_span_it_covers(
        seed: u64,
        keys in keys(),
        // Long enough for two levels of the pyramid, and short.
        count in prop_oneof![1 => 0..40_usize, 2 => 0..3 * BLOCK, 3 => 16 * BLOCK..20 * BLOCK],
        rounds in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
        restart: bool,
        buckets in prop_oneof![1..9_u32, 9..40_u32, 40..200_u32],
        axis in prop::sample::select(vec![Axis::X, Axis::Time, Axis::Index]),
        even: bool,
        log: bool,
        ends in prop::option::of((0.0..1.0_f64, 0.0..1.0_f64)),
        named in prop::sample::select(vec!["loss", "train/größe", "日本/a b/%2F"]),
    ) {
        let x: Vec<f64> = (0..count).map(|at| keys.of(seed, at)).collect();
        let y: Vec<f64> = (0..count).map(|at| value(seed, at)).collect();
        let late = |at: usize| if matches!(keys, Keys::Jittered) { (noise(seed, at) % 9) as i64 } else { 0 };
        let time: Vec<i64> = (0..count).map(|at| NOW.0 + 10 * at as i64 - 7 * late(at)).collect();
        let key = |at: usize| match axis {
            Axis::X => x[at],
            Axis::Time => time[at] as f64,
            Axis::Index => at as f64,
        };
        let points: Vec<(f64, f64)> = (0..count).map(|at| (key(at), y[at])).collect();
        let mut query = EnvelopeQuery {
            by: axis,
            scale: if log { Scale::Log } else { Scale::Linear },
            edges: if even { Edges::Even } else { Edges::Near },
            ..EnvelopeQuery::of(vec![format!("TRIG-1/{named}").parse().unwrap()], buckets)
        };
        if let Some((a, b)) = ends {
            let finite = || points.iter().map(|point| point.0).filter(|key| key.is_finite());
            let (low, high) = (finite().fold(0.0, f64::min), finite().fold(0.0, f64::max));
            let [a, b] = [a, b].map(|part| low + part * (high - low));
            (query.from, query.to) = (Some(a.min(b)), Some(a.max(b)));
        }
        let mut rounds: Vec<usize> = rounds.iter().map(|round| round.index(count + 1)).collect();
        rounds.sort_unstable();
        let found = in_runtime(async {
            let mut sender = Sender::with_numbers(named, Form::Open).await;
            let mut sent = 0;
            for round in rounds {
                sender.send_columns(&x[sent..round], &y[sent..round], &time[sent..round]).await;
                sender.seal().await;
                sent = round;
            }
            sender.send_columns(&x[sent..], &y[sent..], &time[sent..]).await;
            if restart {
                sender = sender.restart().await;
            }
            sender.engine.read_envelopes(&sender.grant, &query).await.unwrap().remove(0)
        });
        prop_assert_eq!(found.mark, count as u64);
        check(&found, points.clone(), &query);
        let plain = points.iter().all(|point| point.0.is_finite());
        let lowest = points.iter().map(|point| point.0).fold(f64::INFINITY, f64::min);
        if plain && (!log || query.from.unwrap_or(lowest) > 0.0) {
            check_widths(&found, &points, &query);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_spike_of_one_point_shows_at_every_zoom() {
    let mut sender = Sender::new().await;
    let (count, spike) = (300 * BLOCK, 123 * BLOCK + 77);
    let x: Vec<f64> = (0..count).map(|at| at as f64).collect();
    let mut y = vec![0.5; count];
    y[spike] = 1e6;
    for part in 0..3 {
        let range = part * 100 * BLOCK..(part + 1) * 100 * BLOCK;
        sender.send_columns(&x[range.clone()], &y[range.clone()], &vec![0; range.len()]).await;
        sender.seal().await;
    }
    let mut span = (0.0, (count - 1) as f64);
    for buckets in [1, 50, 1_000] {
        loop {
            let series = vec!["TRIG-1/loss".parse().unwrap()];
            let query =
                EnvelopeQuery { from: Some(span.0), to: Some(span.1), ..EnvelopeQuery::of(series, buckets) };
            let found = sender.engine.read_envelopes(&sender.grant, &query).await.unwrap().remove(0);
            let with: Vec<usize> = (0..found.max.len()).filter(|at| found.max[*at].0 == 1e6).collect();
            let [at] = with[..] else { panic!("{} buckets show the spike between {span:?}", with.len()) };
            assert!(found.x_first[at].0 <= spike as f64 && found.x_last[at].0 >= spike as f64);
            if buckets == 1 || span.0 == span.1 {
                break;
            }
            span = (found.x_first[at].0, found.x_last[at].0);
        }
        span = (0.0, (count - 1) as f64);
    }
}
