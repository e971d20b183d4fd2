//! Params: declared in the job file, given on the command line, typed and checked before anything is registered.
//!
//! Two forms, as the original had them:
//!
//! - **typed** (1.x): a list of `{name, type, required, default, description}`. The command line after `--` belongs to
//!   Neptune: `--name value` or `--name=value`, declared names only. The program reads `ctx.params`, its argv is empty.
//! - **untyped** (2.x): a map of names to values, or none at all. The command line after `--` belongs to the program and
//!   reaches it unchanged; where it says `--name value` of a declared name, that is the param's value too.
//!
//!   An argument marked with `%` becomes a param of its own (`params/marks.rs`).
//!
//! `-p NAME:VALUE[:DESCRIPTION]` sets a param in both forms. Reading the command line is in `params/command_line.rs`.

mod command_line;
mod marks;
mod value;

use std::path::PathBuf;

use neptune_wire::{ParamName, ParamValue};

pub use command_line::{Given, ParamsError, Resolved, resolve};
pub(crate) use value::ParamValueText;
use value::is_grid;
pub use value::{Kind, parse_boolean};

/// The params a job file declares.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameters {
    /// Where they are declared, for messages.
    pub file: PathBuf,
    /// Who owns the command line.
    pub form: Form,
    /// In the order of the file, names unique.
    pub definitions: Vec<Definition>,
}

/// Who owns the command line after `--`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Neptune: declared params and nothing else.
    Typed,
    /// The program; Neptune only reads along.
    Untyped,
}

/// One declared param.
#[derive(Debug, Clone, PartialEq)]
pub struct Definition {
    /// Unique.
    pub name: ParamName,
    /// Absent in the untyped form when there is no value to tell it from.
    pub kind: Option<Kind>,
    /// Whether a value must be given, unless there is a default.
    pub required: bool,
    /// Of the declared kind.
    pub default: Option<ParamValue>,
    /// What its author says of it.
    pub description: String,
    /// Where it is declared.
    pub line: usize,
}

#[cfg(test)]
mod tests;
