//! `neptune set`: change a job's properties, name or description.

use clap::Args;
use neptune_wire::JobRef;
use neptune_wire::job::PatchJob;

use crate::args::Global;
use crate::error::CliError;
use crate::output::{Output, plain};
use crate::target;

#[derive(Debug, Args)]
pub(crate) struct SetArgs {
    /// The job's id, such as TRIG-12
    job: JobRef,
    /// Properties to set
    #[arg(value_name = "KEY=VALUE", value_parser = parse_property)]
    properties: Vec<(String, String)>,
    /// Property to remove (repeatable)
    #[arg(long, value_name = "KEY")]
    unset: Vec<String>,
    /// New name
    #[arg(long)]
    name: Option<String>,
    /// New description
    #[arg(long)]
    description: Option<String>,
}

/// Reads `KEY=VALUE`, or `KEY:VALUE` as the original wrote it.
pub(crate) fn parse_property(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once(['=', ':']).ok_or("must be KEY=VALUE or KEY:VALUE")?;
    if key.trim().is_empty() {
        return Err("the key before the '=' is missing".into());
    }
    Ok((key.trim().into(), value.into()))
}

/// Changes the job, and prints the properties it has then.
pub(crate) fn run(args: &SetArgs, global: &Global, out: &mut Output) -> Result<(), CliError> {
    let server = target::connect(global)?;
    let set = args.properties.iter().map(|(key, value)| (key.clone(), Some(value.clone())));
    let patch = PatchJob {
        name: args.name.clone(),
        description: args.description.clone(),
        properties: args.unset.iter().map(|key| (key.clone(), None)).chain(set).collect(),
        ..PatchJob::default()
    };
    let job = match patch == PatchJob::default() {
        true => server.wait(server.rest().read_job(&args.job))?,
        false => server.wait(server.rest().patch_job(&args.job, &patch))?,
    };
    if out.json {
        return out.json(&job.properties);
    }
    job.properties.iter().try_for_each(|(key, value)| out.line(&format!("{}={}", plain(key), plain(value))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_are_split_at_the_first_sign() {
        let pair = |key: &str, value: &str| Ok((key.to_string(), value.to_string()));
        assert_eq!(parse_property("a=b:c"), pair("a", "b:c"));
        assert_eq!(parse_property("data version:1=2"), pair("data version", "1=2"));
        assert_eq!(parse_property("a="), pair("a", ""));
        assert!(parse_property("a").is_err() && parse_property("=b").is_err());
    }
}
