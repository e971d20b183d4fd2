//! `neptune project`: list and create projects.

use clap::{Args, Subcommand};
use neptune_runner::project::key_of;
use neptune_wire::{CreateProject, ProjectKey};

use crate::args::Global;
use crate::error::{CliError, say};
use crate::output::{Cell, Output, Table};
use crate::retention::RetentionArgs;
use crate::{retention, target, time};

#[derive(Debug, Args)]
pub(crate) struct ProjectArgs {
    #[command(subcommand)]
    verb: Option<ProjectVerb>,
}

#[derive(Debug, Subcommand)]
enum ProjectVerb {
    /// List projects
    #[command(visible_alias = "list")]
    Ls,
    /// Create a project; `neptune run` also does, on first use
    Create {
        /// Its name
        name: String,
        /// Its key, the first half of its jobs' ids [default: made of the name]
        #[arg(long)]
        key: Option<ProjectKey>,
    },
    /// Show or set which jobs of a project are deleted by themselves
    Retention(RetentionArgs),
}

pub(crate) fn run(args: &ProjectArgs, global: &Global, out: &mut Output) -> Result<(), CliError> {
    let server = target::connect(global)?;
    match args.verb.as_ref().unwrap_or(&ProjectVerb::Ls) {
        ProjectVerb::Create { name, key } => {
            let key = key.clone().unwrap_or_else(|| key_of(name));
            let create = CreateProject { key, name: name.clone() };
            let project = server.wait(server.rest().create_project(&create))?;
            if out.json { out.json(&project) } else { out.line(project.key.as_str()) }
        }
        ProjectVerb::Retention(args) => retention::run(args, &server, out),
        ProjectVerb::Ls => {
            let projects = server.wait(server.rest().list_projects())?;
            if out.json {
                return out.json(&projects);
            }
            if projects.is_empty() {
                say("no projects yet; `neptune run` creates one on first use");
                return Ok(());
            }
            let mut table = Table::new(&["key", "name", "jobs", "created"]).flexible(&[1]);
            for project in projects {
                table.row(vec![
                    Cell::new(project.key.as_str()),
                    Cell::new(&project.name),
                    Cell::new(project.jobs.to_string()),
                    Cell::new(time::moment(project.created_micros)),
                ]);
            }
            out.table(&table)
        }
    }
}
