//! `neptune-server token create`: the first key to a server that others can reach.
//!
//! It works on the folder of a stopped server. A running one has the folder for itself and says so; a way in beside the
//! front door would be one more door to guard.

use anyhow::{Context as _, bail};
use neptune_http::now;

use crate::config::Config;
use crate::{say, store};

/// Longest name of a token.
const NAME_BYTES: usize = 256;

/// Makes an administrator's token and prints it: nobody, the server included, can show it again.
pub(crate) fn create(config: &Config, name: &str) -> anyhow::Result<()> {
    if name.trim().is_empty() || name.len() > NAME_BYTES || name.chars().any(char::is_control) {
        bail!("--name must be 1 to {NAME_BYTES} bytes of printable text");
    }
    let mut random = [0; 32];
    getrandom::fill(&mut random).context("no randomness for the token")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let token = runtime.block_on(async {
        let engine = store::open(config).await?;
        let token = engine.create_admin_token(name, random, now()).await?;
        engine.stop().await;
        anyhow::Ok(token)
    })?;
    say(&format!("{token}\n")).context("the token was made, but could not be printed; make another")
}
