//! Row 11: from starting the process to its first answer, and what it holds in memory when nobody talks to it.

use std::time::{Duration, Instant};

use anyhow::Result;
use neptune_client::{Access, Blocking, Rest};
use neptune_end_to_end::{Server, ServerOptions};

use super::Load;
use crate::fill::{quantile, resident_mb};
use crate::report::Figure;

const STARTS: usize = 10;

pub(crate) fn measure(_load: &Load) -> Result<Vec<Figure>> {
    let folder = tempfile::tempdir()?;
    let mut millis = Vec::new();
    let mut resident = 0.0;
    for start in 0..STARTS {
        let before = Instant::now();
        let mut server = Server::start(&folder.path().join(start.to_string()), ServerOptions::default())?;
        let rest = Blocking::new(Rest::new(Access { url: server.url().into(), token: None })?)?;
        rest.wait(rest.rest().read_server())?;
        millis.push(before.elapsed().as_secs_f64() * 1e3);
        if start == STARTS - 1 {
            std::thread::sleep(Duration::from_secs(3));
            resident = resident_mb(server.pid())?;
        }
        server.stop()?;
    }
    millis.sort_by(f64::total_cmp);
    let figure = |what: &str, value, unit, target, floor| Figure {
        row: 11,
        what: what.into(),
        value,
        unit,
        target,
        floor,
        more_is_better: false,
    };
    Ok(vec![
        figure("empty store, start to first 200, median of 10", quantile(&millis, 0.5), "ms", 150.0, 1_000.0),
        figure("empty store, idle resident memory", resident, "MB", 40.0, 150.0),
    ])
}
