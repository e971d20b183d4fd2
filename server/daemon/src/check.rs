//! `neptune-server check`: reads everything a stopped server keeps and prints what is damaged, a line each.

use std::process::ExitCode;

use anyhow::bail;

use crate::config::Config;
use crate::{say, store};

/// Checks the data folder; the exit status is 0 when nothing is damaged, else 1.
pub(crate) fn check(config: &Config) -> anyhow::Result<ExitCode> {
    if !store::exists(config) {
        bail!("there is no store in {}; name another folder with --data", config.data.display());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        let (store, blobs) = store::open_store(config).await?;
        let mut damaged = 0_u64;
        let mut tell = |damage: neptune_store::Damage| {
            damaged += 1;
            // Whoever reads no further is still answered by the exit status.
            let _ = say(&format!("{damage}\n"));
        };
        let checked = store.check(&blobs, &mut tell).await?;
        let verdict = if damaged == 0 { "all as written".to_owned() } else { format!("{damaged} damaged") };
        let neptune_store::Checked { records, frames, points, chunks, pages, sheets, .. } = checked;
        let neptune_store::Checked { blobs, blob_bytes, .. } = checked;
        let _ = say(&format!(
            "{records} records, {frames} frames with {points} points, {chunks} chunks, {pages} pages, {sheets} sheets, \
             {blobs} blobs of {blob_bytes} bytes: {verdict}\n"
        ));
        Ok(if damaged == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
}
