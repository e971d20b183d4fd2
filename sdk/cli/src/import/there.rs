//! What the server has of an imported job: an import of a later export goes on behind it.

use neptune_client::rest::{Rest, digest_bytes};
use neptune_wire::life::ImportJob;
use neptune_wire::{Channel, ChannelKind, ChannelSummary, JobRef, Number};

use crate::error::CliError;
use crate::tables::Column;

/// The job's channels, in the order of the export.
#[derive(Debug)]
pub(super) struct There {
    channels: Vec<Channel>,
}

impl There {
    /// Nothing, as far as is known: the keys of the requests tell what was stored.
    pub(super) fn nothing() -> There {
        There { channels: vec![] }
    }

    pub(super) async fn read(rest: &Rest, job: &JobRef) -> Result<There, CliError> {
        Ok(There { channels: rest.list_channels(job).await? })
    }

    /// What the keys of the requests begin with: the same for what goes on from the same place.
    pub(super) fn keys(&self) -> String {
        if self.channels.is_empty() {
            return "import-".to_owned();
        }
        let mut place = Vec::new();
        for Channel { summary, .. } in &self.channels {
            place.extend_from_slice(&summary.count.to_le_bytes());
            place.extend_from_slice(&summary.log_bytes.unwrap_or(0).to_le_bytes());
        }
        format!("import-behind-{}-", digest_bytes(&place))
    }

    /// Points of all channels but logs.
    pub(super) fn count(&self) -> u64 {
        let channels = self.channels.iter().filter(|channel| channel.origin.log_name().is_none());
        channels.map(|channel| channel.summary.count).sum()
    }

    /// What is to be left out of a channel's points.
    pub(super) fn behind(&self, number: usize) -> Behind<'_> {
        let channel = self.channels.get(number);
        Behind { channel, known: channel.map_or(0, |channel| channel.summary.count) }
    }

    /// Bytes of a log.
    pub(super) fn log_bytes(&self, number: usize) -> u64 {
        self.channels.get(number).and_then(|channel| channel.summary.log_bytes).unwrap_or(0)
    }

    /// The first channel that has less than the export, in words.
    pub(super) fn find_missing(&self, import: &ImportJob, wanted: &[u64]) -> Option<String> {
        import.channels.iter().zip(wanted).enumerate().find_map(|(number, (channel, wanted))| {
            let found = match channel.origin.log_name() {
                Some(_) => self.log_bytes(number),
                None => self.channels.get(number).map_or(0, |there| there.summary.count),
            };
            let (name, what) = (&channel.name, if channel.origin.is_log() { "bytes" } else { "points" });
            (found < *wanted).then(|| format!("channel {name} has {found} of {wanted} {what}"))
        })
    }
}

/// Points of a channel of which the first are there.
#[derive(Debug)]
pub(super) struct Behind<'a> {
    channel: Option<&'a Channel>,
    /// How many are still to be left out.
    known: u64,
}

impl Behind<'_> {
    /// Leaves out of the next points those that are there.
    ///
    /// # Errors
    ///
    /// When the last of them is another point than the server's last: its points are of elsewhere.
    pub(super) fn cut(&mut self, rows: &mut [Column]) -> Result<(), CliError> {
        let count = rows.first().map_or(0, Column::len);
        let known = usize::try_from(self.known).unwrap_or(usize::MAX).min(count);
        self.known -= known as u64;
        if let Some(channel) = self.channel
            && let Some(last) = known.checked_sub(1)
            && self.known == 0
            && !is_last(rows, last, channel.kind, &channel.summary)
        {
            return Err(CliError::refused(format_args!(
                "channel {} has points here that are not those of this export",
                channel.name
            )));
        }
        rows.iter_mut().for_each(|column| column.cut_front(known));
        Ok(())
    }
}

/// Whether a row is the point that the server says arrived last.
fn is_last(rows: &[Column], at: usize, kind: ChannelKind, summary: &ChannelSummary) -> bool {
    let same = |mine: Option<&f64>, there: Option<Number>| match (mine, there) {
        (Some(mine), Some(Number(there))) => {
            mine.to_bits() == there.to_bits() || mine.is_nan() && there.is_nan()
        }
        _ => false,
    };
    let is_numeric = kind == ChannelKind::Numeric;
    let time = if is_numeric { &rows[2] } else { &rows[1] };
    same(rows[0].doubles().get(at), summary.last_x)
        && time.integers().get(at).copied() == summary.last_micros.map(|time| time.0)
        && (!is_numeric || same(rows[1].doubles().get(at), summary.last))
}

#[cfg(test)]
mod tests {
    use neptune_wire::{ChannelOrigin, Micros};

    use super::*;

    fn rows(first: u64, end: u64) -> Vec<Column> {
        let steps = || (first..end).map(|step| step as f64);
        let y = steps().map(|step| if step == 4.0 { f64::NAN } else { step / 2.0 });
        let time = steps().map(|step| step as i64).collect();
        vec![Column::Doubles(steps().collect()), Column::Doubles(y.collect()), Column::Integers(time)]
    }

    fn channel(count: u64, last: f64) -> Channel {
        let at = count.saturating_sub(1);
        let summary = ChannelSummary {
            count,
            last: (count > 0).then_some(Number(last)),
            last_x: (count > 0).then_some(Number(at as f64)),
            last_micros: (count > 0).then_some(Micros(at as i64)),
            ..ChannelSummary::default()
        };
        let name = neptune_wire::ChannelName::new("loss").unwrap();
        Channel { name, kind: ChannelKind::Numeric, origin: Default::default(), summary }
    }

    /// What is left of points 0 to 5 and 5 to 8.
    fn left(count: u64, last: f64) -> Result<Vec<Column>, CliError> {
        let there = There { channels: vec![channel(count, last)] };
        let mut behind = there.behind(0);
        let mut parts = [rows(0, 5), rows(5, 8)];
        for part in &mut parts {
            behind.cut(part)?;
        }
        let [first, second] = parts;
        Ok(if first[0].len() > 0 { first } else { second })
    }

    #[test]
    fn only_what_is_behind_the_last_point_is_left() {
        let times = |count, last| left(count, last).unwrap()[2].integers().to_vec();
        assert_eq!(times(0, 0.0), [0, 1, 2, 3, 4]);
        assert_eq!(times(3, 1.0), [3, 4]);
        assert_eq!(left(5, f64::NAN).unwrap(), rows(5, 8));
        assert!(times(8, 3.5).is_empty());
        // The server has more than this export.
        assert!(times(9, 4.0).is_empty());
        for (count, last) in [(3, 9.0), (5, 2.0), (8, f64::NAN)] {
            let refused = left(count, last).unwrap_err().to_string();
            assert!(refused.contains("loss has points here that are not those of this export"), "{refused}");
        }
    }

    #[test]
    fn keys_tell_where_it_goes_on() {
        let keys = |count| There { channels: vec![channel(count, 0.0)] }.keys();
        assert_eq!(There::nothing().keys(), "import-");
        assert_eq!(keys(3), keys(3));
        assert_ne!(keys(3), keys(4));
    }

    #[test]
    fn what_is_there_is_counted_without_logs() {
        let log = Channel { origin: ChannelOrigin::Stdout, kind: ChannelKind::Text, ..channel(7, 0.0) };
        let there = There { channels: vec![channel(3, 1.0), log, channel(5, 2.0)] };
        assert_eq!((there.count(), There::nothing().count()), (8, 0));
    }
}
