//! `neptune-server check`: reads everything a stopped server keeps and prints what is damaged, a line each. Changes nothing of
//! it: data of an older format stays so.

use std::process::ExitCode;

use anyhow::bail;
use neptune_store::Checked;

use crate::config::Config;
use crate::{say, store};

/// Checks the data folder; the exit status is 0 when nothing is damaged, else 1.
pub(crate) fn check(config: &Config) -> anyhow::Result<ExitCode> {
    if !store::exists(config) {
        bail!("there is no store in {}; name another folder with --data", config.data.display());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        let (store, blobs) = store::open_as_it_is(config).await?;
        let mut damaged = 0_u64;
        let mut tell = |damage: neptune_store::Damage| {
            damaged += 1;
            // Whoever reads no further is still answered by the exit status.
            let _ = say(&format!("{damage}\n"));
        };
        let checked = store.check(&blobs, &mut tell).await;
        let verdict = if damaged == 0 { "all as written".to_owned() } else { format!("{damaged} damaged") };
        let _ = say(&summary(&checked, &verdict));
        Ok(if damaged == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
}

/// A line of what was read, and one for each thing that is on its way out.
fn summary(checked: &Checked, verdict: &str) -> String {
    let Checked { records, frames, points, chunks, pages, sheets, .. } = checked;
    let Checked { blobs, blob_bytes, unneeded, leftovers, leftover_bytes, removing, .. } = checked;
    let mut text = format!(
        "{records} records, {frames} frames with {points} points, {chunks} chunks, {pages} pages, {sheets} sheets, \
         {blobs} blobs of {blob_bytes} bytes: {verdict}\n"
    );
    if *unneeded > 0 {
        text += &format!(
            "{unneeded} blobs and snapshots are named by no job; the server lets go of them in time\n"
        );
    }
    if *leftovers > 0 {
        text +=
            &format!("{leftovers} files of {leftover_bytes} bytes are left over; the server removes them\n");
    }
    if *removing > 0 {
        text += &format!("{removing} deleted jobs are being removed; the server goes on at its next start\n");
    }
    text
}
