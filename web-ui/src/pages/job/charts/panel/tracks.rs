//! The tracks of a chart's series: each whole, and a part of it in more detail while the chart is zoomed.

use neptune_wire::ChannelName;

use super::fetch::{Answer, Wanted};
use crate::chart::scale::Range;
use crate::chart::span::Span;
use crate::chart::track::{Ask, Points, Track};
use crate::net::api::Failure;

/// All series of a chart.
#[derive(Debug, Default)]
pub(super) struct Tracks {
    series: Vec<Series>,
    zoom: Option<Range>,
}

#[derive(Debug)]
struct Series {
    /// Absent while the job has not created it.
    channel: Option<ChannelName>,
    whole: Track,
    part: Option<Track>,
}

impl Series {
    fn track(&mut self, part: bool) -> Option<&mut Track> {
        if part { self.part.as_mut() } else { Some(&mut self.whole) }
    }

    fn wanted(&self, part: bool, ask: Ask) -> Option<Wanted> {
        Some(Wanted { channel: self.channel.clone()?, part, ask })
    }
}

impl Tracks {
    /// Takes these channels as the series; answers whether another set of channels exists now.
    pub(super) fn follow(&mut self, channels: &[Option<ChannelName>]) -> bool {
        let same = self.series.iter().map(|series| &series.channel).eq(channels);
        if !same {
            let mut old: Vec<_> = self.series.drain(..).collect();
            self.series = channels
                .iter()
                .map(|channel| match old.iter().position(|series| series.channel == *channel) {
                    Some(at) => old.swap_remove(at),
                    None => Series { channel: channel.clone(), whole: Track::whole(), part: None },
                })
                .collect();
        }
        !same
    }

    /// The channels that exist.
    pub(super) fn channels(&self) -> Vec<ChannelName> {
        let mut channels: Vec<_> = self.series.iter().filter_map(|series| series.channel.clone()).collect();
        channels.sort_unstable();
        channels.dedup();
        channels
    }

    /// What is drawn: the part where the chart is zoomed and the part is here, else the whole.
    pub(super) fn shown(&self) -> Vec<&Span> {
        let mut spans = Vec::with_capacity(self.series.len());
        for series in &self.series {
            spans.push(match &series.part {
                Some(part) if !part.is_loading() => part.span(),
                _ => series.whole.span(),
            });
        }
        spans
    }

    /// Points that are accounted for, over all series.
    pub(super) fn known(&self) -> u64 {
        self.series.iter().map(|series| series.whole.known()).sum()
    }

    /// Points without a place on the axis.
    pub(super) fn without_x(&self) -> u64 {
        self.series.iter().map(|series| series.whole.without_x()).sum()
    }

    pub(super) fn is_loading(&self) -> bool {
        self.series.iter().any(|series| series.whole.is_loading())
    }

    pub(super) fn is_awaiting(&self) -> bool {
        self.series.iter().any(|series| series.whole.is_awaiting())
    }

    pub(super) fn is_zoomed(&self) -> bool {
        self.zoom.is_some()
    }

    /// The subscription of a channel holds since it had `mark` points.
    pub(super) fn subscribed(&mut self, channel: &ChannelName, mark: u64) -> Vec<Wanted> {
        self.each(channel.as_str(), |track| track.subscribed(mark))
    }

    pub(super) fn reread(&mut self, channel: &ChannelName, from: u64) -> Vec<Wanted> {
        self.each(channel.as_str(), |track| track.reread(from))
    }

    pub(super) fn arrived(&mut self, channel: &str, points: &Points, buckets: usize) -> Vec<Wanted> {
        self.each(channel, |track| track.arrived(points, buckets))
    }

    /// Asks again for everything that is not complete.
    pub(super) fn retry(&mut self) -> Vec<Wanted> {
        let mut wanted = Vec::new();
        for series in &mut self.series {
            for part in [false, true] {
                let ask = series.track(part).map(Track::retry);
                wanted.extend(ask.and_then(|ask| series.wanted(part, ask)));
            }
        }
        wanted
    }

    /// Looks at a part more closely, or at the whole again.
    pub(super) fn zoom(&mut self, zoom: Option<Range>) -> Vec<Wanted> {
        self.zoom = zoom;
        let mut wanted = Vec::new();
        for series in &mut self.series {
            let part = zoom.map(|Range { min, max }| Track::part(min, max));
            let (part, ask) = part.unzip();
            series.part = part;
            wanted.extend(ask.and_then(|ask| series.wanted(true, ask)));
        }
        wanted
    }

    /// An answer, or why there is none.
    pub(super) fn answered(&mut self, answer: Answer, buckets: usize) -> Result<Vec<Wanted>, Failure> {
        let Answer { question, tables } = answer;
        let mut more = Vec::new();
        for (at, channel) in question.channels.iter().enumerate() {
            for series in self.series.iter_mut().filter(|series| series.channel.as_ref() == Some(channel)) {
                let Some(track) = series.track(question.part) else { continue };
                let Some(table) = tables.as_ref().ok().and_then(|tables| tables.get(at)) else {
                    track.unanswered(question.ask);
                    continue;
                };
                let again = track
                    .answered(question.ask, table, buckets)
                    .map_err(|missing| Failure::Damaged(format!("an envelope without {}", missing.0)))?;
                more.extend(again.and_then(|ask| series.wanted(question.part, ask)));
            }
        }
        tables.map(|_| more)
    }

    fn each(&mut self, channel: &str, mut act: impl FnMut(&mut Track) -> Option<Ask>) -> Vec<Wanted> {
        let mut wanted = Vec::new();
        for series in &mut self.series {
            if series.channel.as_ref().is_none_or(|name| name.as_str() != channel) {
                continue;
            }
            for part in [false, true] {
                let ask = series.track(part).and_then(&mut act);
                wanted.extend(ask.and_then(|ask| series.wanted(part, ask)));
            }
        }
        wanted
    }
}
