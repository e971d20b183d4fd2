//! The command line.

use std::path::PathBuf;

use clap::Parser;

use crate::peer::Peer;
use crate::rows::Load;

/// Measures Neptune against its speed targets.
#[derive(Debug, Parser)]
pub(crate) struct Arguments {
    /// Only these rows, by number; all when absent, none when absent and peers are asked for.
    pub(crate) rows: Vec<u32>,
    /// Compares with these peers, installed from PyPI; with all when none is named.
    #[arg(long, num_args = 0.., value_name = "NAME", value_enum)]
    peer: Option<Vec<Peer>>,
    /// Seconds of sustained load in rows 1 to 4.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Clients of row 2.
    #[arg(long, default_value_t = 1_000)]
    clients: usize,
    /// Channels of row 3, in jobs of 1,000 at most.
    #[arg(long, default_value = "1e5", value_parser = count)]
    channels: u64,
    /// Points of the longest channel in rows 7 and 11, and of all channels of row 9 together, up to 100 million.
    #[arg(long, default_value = "1e7", value_parser = count)]
    points: u64,
    /// Jobs in rows 10 and 11.
    #[arg(long, default_value = "1e5", value_parser = count)]
    jobs: u64,
    /// Runs in a peer's table.
    #[arg(long, default_value = "1e3", value_parser = count)]
    pub(crate) runs: u64,
    /// The sizes of the table of targets: --seconds 120 --channels 1e6 --points 1e9 --jobs 1e6 --runs 1e4. Takes hours.
    #[arg(long)]
    full: bool,
    /// Measures each row so many times; the median counts.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) repeat: u32,
    /// Also writes the figures as JSON to this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Prints the change of each figure since the run that wrote this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) against: Option<PathBuf>,
}

impl Arguments {
    /// Parses, and puts the full sizes in where they are asked for.
    pub(crate) fn parse() -> Self {
        <Self as Parser>::parse().completed()
    }

    fn completed(self) -> Self {
        if !self.full {
            return self;
        }
        let (seconds, channels, points) = (120, 1_000_000, 1_000_000_000);
        Self { seconds, channels, points, jobs: 1_000_000, runs: 10_000, ..self }
    }

    /// Whether this row is to be measured.
    pub(crate) fn wants(&self, row: u32) -> bool {
        if self.rows.is_empty() { self.peer.is_none() } else { self.rows.contains(&row) }
    }

    /// The peers to compare with.
    pub(crate) fn peers(&self) -> &[Peer] {
        match self.peer.as_deref() {
            None => &[],
            Some([]) => &Peer::ALL,
            Some(named) => named,
        }
    }

    /// How much load the rows put on the machine.
    pub(crate) fn load(&self) -> Load {
        let Self { seconds, clients, channels, points, jobs, .. } = *self;
        Load { seconds, clients, channels, points, jobs }
    }
}

/// A whole number above 0, as `1000000`, `1e6` or `1_000_000`.
fn count(text: &str) -> Result<u64, String> {
    let number: f64 = text.replace('_', "").parse().map_err(|_| "must be a number such as 100000 or 1e5")?;
    if !(1.0..=1e12).contains(&number) || number.fract() != 0.0 {
        return Err("must be a whole number from 1 to 1e12".into());
    }
    Ok(number as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Arguments {
        <Arguments as Parser>::try_parse_from([&["bench"], arguments].concat()).unwrap().completed()
    }

    #[test]
    fn counts_may_be_written_short() {
        assert_eq!(count("1e9"), Ok(1_000_000_000));
        assert_eq!(count("250_000"), Ok(250_000));
        for wrong in ["", "0", "-1", "1.5", "NaN", "inf", "1e13", "many"] {
            assert!(count(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn all_rows_or_the_named_or_only_peers() {
        assert!(parsed(&[]).wants(3) && parsed(&[]).peers().is_empty());
        assert!(parsed(&["1", "3"]).wants(3) && !parsed(&["1", "3"]).wants(2));
        let peers = parsed(&["--peer"]);
        assert!(!peers.wants(1) && peers.peers() == Peer::ALL);
        let both = parsed(&["1", "--peer", "aim"]);
        assert!(both.wants(1) && both.peers() == [Peer::Aim]);
        assert_eq!(parsed(&["--full"]).load().points, 1_000_000_000);
    }
}
