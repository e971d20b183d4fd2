//! `neptune-server backup`: a consistent copy of everything, also while a server runs.
//!
//! ```text
//! DIR/
//!   backup.json          whose data it is, and every file's path, length and BLAKE3 (`list.rs`); written last, by a rename
//!   files/ab/abcd…       the files, by BLAKE3 (`gather.rs`)
//!   backup.lock          held while a backup is made (`target.rs`)
//! ```
//!
//! Files are immutable and named by their content, so one that is there and still what it was is not copied again, and a
//! backup that is cut off leaves the one before it whole: `backup.json` names only files that are safe. Where it is
//! missing, nothing was finished. On one file system files are hard links; a backup on a disk of its own outlives the
//! disk of the data.

mod gather;
mod list;
mod target;

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use neptune_engine::Engine;
use neptune_store::Store;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use self::gather::Gathering;
use self::target::Target;
use crate::config::Config;
use crate::{attendant, note, say, store};

pub(crate) use self::gather::{CopyError, copy_file};
pub(crate) use self::list::{List, Listed, place_of};

/// Where the ordered state is copied to before its files are sorted into the backup: beside the data, so that its tables are
/// hard links.
const DRAFT: &str = "backup-draft";

/// What a backup did.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Taken {
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    /// Those of them that were not there from a backup before.
    pub(crate) new_files: u64,
    pub(crate) new_bytes: u64,
    /// Blobs in the data folder whose bytes have changed.
    pub(crate) damaged: u64,
    /// Those of them of which the backup had a whole copy, which it keeps.
    pub(crate) kept: u64,
    /// The folder was there, and its mode lets others in.
    pub(crate) wide_mode: Option<u32>,
}

/// What is to be copied, and where to.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    pub(crate) data: PathBuf,
    pub(crate) to: PathBuf,
    /// Ends it before it is whole.
    pub(crate) stop: CancellationToken,
}

/// Makes a backup: through the server that has the data, or without one.
pub(crate) fn backup(config: &Config, to: &Path) -> anyhow::Result<ExitCode> {
    if !store::exists(config) {
        bail!("there is no store in {}; name another folder with --data", config.data.display());
    }
    let to = std::path::absolute(to).with_context(|| format!("{}", to.display()))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let taken = runtime.block_on(async {
        if let Some(taken) = attendant::ask_backup(&config.data, &to).await? {
            return Ok(taken);
        }
        let (store, _blobs) = store::open_as_it_is(config).await?;
        let order = Order { data: config.data.clone(), to: to.clone(), stop: CancellationToken::new() };
        take_of_stopped(&store, order).await
    })?;
    let Taken { files, bytes, new_files, new_bytes, damaged, kept, wide_mode } = taken;
    if let Some(mode) = wide_mode {
        note(&format!(
            "others may look into {0} (mode {mode:o}); what is in it keeps them out, `chmod 700 {0}` does so, too",
            to.display()
        ));
    }
    if damaged > 0 {
        note(&format!(
            "{damaged} blobs in the data folder are damaged, `neptune-server check` names them; of {kept} of them the \
             backup has whole copies from before, which it keeps"
        ));
    }
    say(&format!(
        "{files} files of {bytes} bytes, {new_files} of them ({new_bytes} bytes) new: {}\n",
        to.display()
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// Copies all that an engine keeps in its data folder.
pub(crate) async fn take_of_running(engine: &Engine, order: Order) -> anyhow::Result<Taken> {
    let target = claim(&order, engine.store_identity().to_string()).await?;
    let draft = Draft::begin(&order.data)?;
    let taken_micros = neptune_http::now().0;
    // Held until everything is copied: the blobs that the state names stay.
    let kept = engine.checkpoint(&draft.0).await.context("the database could not be copied")?;
    let copied = tokio::task::spawn_blocking(move || {
        // Also when whoever asked does not wait any more.
        let _kept = kept;
        gather(&order, target, &draft, taken_micros)
    });
    copied.await?
}

/// The same of a folder whose server does not run, so that nobody removes anything meanwhile.
async fn take_of_stopped(store: &Store, order: Order) -> anyhow::Result<Taken> {
    let target = claim(&order, store.identity().to_string()).await?;
    let draft = Draft::begin(&order.data)?;
    let taken_micros = neptune_http::now().0;
    store.checkpoint(&draft.0).await.context("the database could not be copied")?;
    tokio::task::spawn_blocking(move || gather(&order, target, &draft, taken_micros)).await?
}

/// The target with the store's identity, which the list will name.
async fn claim(order: &Order, store: String) -> anyhow::Result<(Target, String)> {
    let Order { data, to, .. } = order.clone();
    let claimed = tokio::task::spawn_blocking(move || Ok((Target::claim(&data, &to, &store)?, store)));
    claimed.await?
}

/// Sorts the draft and the blobs into the backup.
fn gather(
    order: &Order,
    (target, store): (Target, String),
    draft: &Draft,
    taken_micros: i64,
) -> anyhow::Result<Taken> {
    let mut gathering = Gathering::begin(&target.folder, &order.stop);
    gathering.taken.wide_mode = target.wide_mode;
    gathering.add_folder(&draft.0, "db")?;
    gathering.add_folder(&order.data.join("blobs"), "blobs")?;
    gathering.sync_names()?;
    check_going(&order.stop)?;
    let Gathering { taken, files, .. } = gathering;
    let written_by = env!("CARGO_PKG_VERSION").to_owned();
    let list = List { format: list::FORMAT, written_by, store: Some(store), taken_micros, files };
    list.write(&target.folder)?;
    let wanted: BTreeSet<&str> = list.files.iter().map(|file| file.blake3.as_str()).collect();
    target.remove_unlisted(&wanted)?;
    Ok(taken)
}

/// Refuses to go on once the backup is to end.
fn check_going(stop: &CancellationToken) -> anyhow::Result<()> {
    if stop.is_cancelled() {
        bail!(
            "the backup was stopped before it was whole: the server ends, or whoever asked for it went away"
        );
    }
    Ok(())
}

/// The copy of the ordered state, which goes whatever becomes of the backup: its tables take room as long as it is there.
struct Draft(PathBuf);

impl Draft {
    fn begin(data: &Path) -> anyhow::Result<Draft> {
        remove_draft(data)?;
        Ok(Draft(data.join(DRAFT)))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if let Err(error) = remove_folder(&self.0) {
            tracing::warn!(folder = %self.0.display(), %error, "a copy of the database is left; the next start removes it");
        }
    }
}

/// Removes what a backup left that was killed; one is made at a time, by whoever has the store.
pub(crate) fn remove_draft(data: &Path) -> anyhow::Result<()> {
    let draft = data.join(DRAFT);
    remove_folder(&draft).with_context(|| format!("{}", draft.display()))
}

fn remove_folder(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
