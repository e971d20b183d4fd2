//! Envelopes of one channel: which summaries and points are read, and when they are looked into.

use neptune_store::pyramid::{Summary, node_points};
use neptune_wire::query::{Axis, Scale};

use crate::Refused;
use crate::envelope::{Bucket, Cut, Fold, Folded, span};
use crate::series::{Piece, Series};

/// Where a logarithmic axis of a channel that is not ordered begins, by its end, when there are keys below zero.
const LOG_SPAN: f64 = 1e-12;

/// The envelope of a channel.
///
/// Cost: on an ordered axis some ten summaries a bucket, two blocks of points for the ends of the range, and where keys lie
/// thin, what is below summaries that span many buckets, at most one for each of those; else every summary and, where
/// their spans overlap the edges of buckets, the points below them.
pub(super) async fn read(series: &Series<'_>, cut: &Cut) -> Result<Vec<Bucket>, Refused> {
    let ordered = series.is_ordered(cut.axis);
    let mut range = 0..series.len();
    if ordered {
        if let Some(from) = cut.from {
            range.start = series.partition(cut.axis, |key| key < from).await?;
        }
        if let Some(to) = cut.to {
            range.end = series.partition(cut.axis, |key| key <= to).await?;
        }
    }
    if range.is_empty() {
        return Ok(Vec::new());
    }
    let (low, high) = spread(series, cut, ordered).await?;
    let mut fold = Fold::new(cut, low, high, ordered);
    let level = Series::level_of(range.end - range.start, cut.buckets.into());
    let mut pieces = series.cover(range, level);
    while !pieces.is_empty() {
        let mut deeper = Vec::new();
        for piece in pieces {
            match piece {
                Piece::Nodes { level, nodes } => {
                    let mut left = nodes;
                    while !left.is_empty() {
                        let (now, later) = Series::split_nodes(left);
                        let summaries = series.nodes(level, now.clone()).await?;
                        fold_nodes(&mut fold, cut.axis, level, now.start, &summaries, &mut deeper);
                        left = later;
                    }
                }
                Piece::Points(points) => {
                    let mut left = points;
                    while !left.is_empty() {
                        let (now, later) = Series::split_points(left);
                        for part in series.points(now).await? {
                            fold.add_points(part.first, &part.block, part.range);
                        }
                        // A long scan lets others have their turn.
                        tokio::task::yield_now().await;
                        left = later;
                    }
                }
            }
        }
        pieces = deeper;
    }
    Ok(fold.finish())
}

/// Folds nodes that follow each other; what must be looked into is added to `deeper`.
fn fold_nodes(
    fold: &mut Fold,
    axis: Axis,
    level: u8,
    first: u64,
    nodes: &[Summary],
    deeper: &mut Vec<Piece>,
) {
    let arrival = |at: usize| (first + at as u64) * node_points(level);
    let span_of = |at: usize| span(axis, arrival(at), &nodes[at]);
    for (at, node) in nodes.iter().enumerate() {
        // What lies beyond the ends of this stretch is not known here, so those two are never moved.
        let apart = at > 0
            && at + 1 < nodes.len()
            && match (span_of(at - 1), span_of(at), span_of(at + 1)) {
                (Some(before), Some(here), Some(behind)) => before.1 < here.0 && here.1 < behind.0,
                _ => false,
            };
        if fold.add_node(arrival(at), node, apart) == Folded::LookInto {
            let below = Series::below(level, first + at as u64);
            match (deeper.last_mut(), below) {
                // Neighbours are read together.
                (Some(Piece::Nodes { level: a, nodes: last }), Piece::Nodes { level: b, nodes })
                    if *a == b && last.end == nodes.start =>
                {
                    last.end = nodes.end;
                }
                (Some(Piece::Points(last)), Piece::Points(points)) if last.end == points.start => {
                    last.end = points.end;
                }
                (_, below) => deeper.push(below),
            }
        }
    }
}

/// The finite keys that the buckets spread over.
async fn spread(series: &Series<'_>, cut: &Cut, ordered: bool) -> Result<(f64, f64), Refused> {
    let (mut low, mut high) = series.span(cut.axis);
    if let Some(from) = cut.from.filter(|from| from.is_finite()) {
        low = from;
    }
    if let Some(to) = cut.to.filter(|to| to.is_finite()) {
        high = to;
    }
    if cut.scale == Scale::Linear || low > 0.0 {
        return Ok((low, high));
    }
    // The lowest key above zero.
    if ordered {
        let first = series.partition(cut.axis, |key| key <= 0.0).await?;
        if let Some(part) = series.points(first..(first + 1).min(series.len())).await?.first() {
            return Ok((part.key(cut.axis, part.range.start), high));
        }
    }
    Ok((high * LOG_SPAN, high))
}
