//! The data folder, and the engine over it.
//!
//! ```text
//! DATA/
//!   db/         ordered bytes, by neptune-kv-rocksdb, which also holds the lock
//!   blobs/      blobs by digest
//!   restoring   only while `restore` fills the folder, or where that was cut off
//! ```

use std::fs::{DirBuilder, File};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail};
use neptune_engine::Engine;
use neptune_kv_rocksdb::{OpenError, Options, RocksKv};
use neptune_store::{Blobs, Store, WriteError};

use crate::config::Config;

/// Lies in a data folder until a restore has filled it.
pub(crate) const RESTORING: &str = "restoring";

/// Opens the engine over everything that is kept; makes what is not there yet.
///
/// # Errors
///
/// As [`open_store`].
pub(crate) async fn open(config: &Config) -> anyhow::Result<Engine> {
    let (store, blobs) = open_store(config).await?;
    Ok(Engine::open_with(store, blobs, config.times()).await?)
}

/// Opens what is kept, without the rules over it.
///
/// # Errors
///
/// Among others when another process has the folder: the message names it and what to do.
pub(crate) async fn open_store(config: &Config) -> anyhow::Result<(Store, Blobs)> {
    create_private(&config.data)
        .with_context(|| format!("cannot make the folder {}", config.data.display()))?;
    check_restored(config)?;
    let reserve_mib = options(config).reserve_bytes >> 20;
    let kv = RocksKv::open(config.data.join("db"), options(config)).map_err(explain)?;
    let mut fresh_key = [0; 32];
    getrandom::fill(&mut fresh_key).context("no randomness for the server's key")?;
    let store = Store::open(Arc::new(kv), fresh_key).await.map_err(|error| {
        let error = anyhow::Error::new(error);
        let is_full = error.chain().any(|cause| matches!(cause.downcast_ref(), Some(WriteError::ReadOnly)));
        let full = || {
            let data = config.data.display();
            format!(
                "{data} needs {reserve_mib} MiB of free disk; make room, or name another folder with --data"
            )
        };
        if is_full { anyhow!(full()) } else { error }
    })?;
    let blobs = Blobs::open_folder(&config.data.join("blobs"))?;
    Ok((store, blobs))
}

/// Opens what a stopped server keeps without changing any of it: it is not made where it is missing, and not brought to a
/// newer format.
///
/// # Errors
///
/// As [`open_store`], and where no store is.
pub(crate) async fn open_as_it_is(config: &Config) -> anyhow::Result<(Store, Blobs)> {
    check_restored(config)?;
    let kv = RocksKv::open(config.data.join("db"), options(config)).map_err(explain)?;
    let store = Store::open_as_it_is(Arc::new(kv)).await?;
    let folder = config.data.join("blobs");
    // A store that never had one has no folder for them.
    let blobs = if folder.is_dir() { Blobs::open_folder(&folder)? } else { Blobs::in_memory() };
    Ok((store, blobs))
}

fn options(config: &Config) -> Options {
    Options { cache_bytes: config.cache_bytes, ..Options::default() }
}

/// A part of a backup is not taken for all of it.
fn check_restored(config: &Config) -> anyhow::Result<()> {
    if config.data.join(RESTORING).exists() {
        bail!(
            "{} is being filled by a restore, or that was cut off; let it end, or run `neptune-server restore` again",
            config.data.display()
        );
    }
    Ok(())
}

/// Whether there is anything to open; opening would make it.
pub(crate) fn exists(config: &Config) -> bool {
    config.data.join("db").is_dir()
}

/// Only the server's own user reads what others let it keep, and the key that tokens are made from.
pub(crate) fn create_private(folder: &Path) -> std::io::Result<()> {
    let made: Vec<&Path> = folder.ancestors().take_while(|above| !above.exists()).collect();
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    // A folder's name outlives a power cut once the folder above is synced; the last one's may have been left undone by
    // a start that was killed.
    let names = made.iter().copied().chain([folder]);
    names.map(|name| name.join("..")).try_for_each(|above| File::open(above)?.sync_all())
}

fn explain(error: OpenError) -> anyhow::Error {
    let remedy = match &error {
        OpenError::Held { pid: Some(pid), .. } => {
            format!("stop it first (kill {pid}), or name another folder with --data")
        }
        OpenError::Held { pid: None, .. } => "stop it first, or name another folder with --data".to_owned(),
        OpenError::Io { cause, .. } if cause.to_string().contains("No space left") => {
            "starting writes a little: make room on this disk, then start it again; nothing is lost"
                .to_owned()
        }
        _ => return anyhow::Error::new(error),
    };
    anyhow!("{error}; {remedy}")
}
