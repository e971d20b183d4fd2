//! The command line's say on params: what follows `--`, and `-p`.

use std::collections::HashMap;
use std::fmt;

use neptune_wire::job::Param;
use neptune_wire::{ParamName, ParamValue};

use super::marks::Mark;
use super::{Definition, Form, Kind, ParamValueText, Parameters};
use crate::nearest::{hint, nearest};

/// What the command line says.
#[derive(Debug, Clone, Default)]
pub struct Given {
    /// Each `-p NAME:VALUE[:DESCRIPTION]`, as written.
    pub parameters: Vec<String>,
    /// What follows the main file and `--`.
    pub arguments: Vec<String>,
}

/// Params with their values, and what is left for the program.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolved {
    /// Declared ones in the order of the file, then those of `-p`.
    pub params: Vec<Param>,
    /// The program's own arguments.
    pub arguments: Vec<String>,
    /// What a person may want to know: a name that looks like a slip.
    pub notes: Vec<String>,
}

/// Everything that is wrong with the command line's params, one sentence each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParamsError(pub Vec<String>);

impl fmt::Display for ParamsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for ParamsError {}

/// Joins what the job file declares with what the command line gives.
///
/// # Errors
///
/// [`ParamsError`] with all of: a wrong type, an unknown name, a required param without value, a name twice, a grid.
pub fn resolve(parameters: Option<&Parameters>, given: &Given) -> Result<Resolved, ParamsError> {
    let mut resolver = Resolver {
        parameters,
        values: HashMap::new(),
        added: Vec::new(),
        faults: Vec::new(),
        notes: Vec::new(),
    };
    resolver.read_dash_p(&given.parameters);
    let arguments = match parameters.map(|parameters| parameters.form) {
        Some(Form::Typed) => {
            resolver.read_typed(&given.arguments);
            Vec::new()
        }
        Some(Form::Untyped) | None => resolver.read_along(&given.arguments),
    };
    let mut params: Vec<Param> =
        resolver.definitions().iter().filter_map(|definition| resolver.param(definition)).collect();
    params.append(&mut resolver.added);
    if resolver.faults.is_empty() {
        Ok(Resolved { params, arguments, notes: resolver.notes })
    } else {
        Err(ParamsError(resolver.faults))
    }
}

struct Resolver<'a> {
    parameters: Option<&'a Parameters>,
    /// What the command line says of declared params; an error when it was refused.
    values: HashMap<ParamName, GivenValue>,
    /// Params that only the command line knows.
    added: Vec<Param>,
    faults: Vec<String>,
    notes: Vec<String>,
}

struct GivenValue {
    value: Option<ParamValue>,
    description: Option<String>,
}

impl<'a> Resolver<'a> {
    fn definitions(&self) -> &'a [Definition] {
        self.parameters.map(|parameters| parameters.definitions.as_slice()).unwrap_or_default()
    }

    fn find(&self, name: &str) -> Option<&'a Definition> {
        self.definitions().iter().find(|definition| definition.name.as_str() == name)
    }

    fn names(&self) -> impl Iterator<Item = &'a str> {
        self.definitions().iter().map(|definition| definition.name.as_str())
    }

    /// `config.yaml:7`
    fn place(&self, definition: &Definition) -> String {
        let file = self.parameters.map(|parameters| parameters.file.display().to_string());
        format!("{}:{}", file.unwrap_or_default(), definition.line)
    }

    /// The typed form: every argument is `--name value` or `--name=value` of a declared name.
    fn read_typed(&mut self, arguments: &[String]) {
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            let Some(flag) = argument.strip_prefix("--").filter(|flag| !flag.is_empty()) else {
                let text =
                    format!("{argument:?}: the parameters are given as --name value{}", self.declared());
                self.faults.push(text);
                continue;
            };
            let (name, inline) = match flag.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (flag, None),
            };
            let Some(definition) = self.find(name) else {
                self.unknown(&format!("--{name}"), name);
                // Its value would read as a second fault.
                if inline.is_none() && arguments.as_slice().first().is_some_and(|next| !is_flag(next)) {
                    arguments.next();
                }
                continue;
            };
            let next = arguments.as_slice().first().map(String::as_str);
            match inline.or(next.filter(|next| self.is_value(next))) {
                Some(text) => {
                    if inline.is_none() {
                        arguments.next();
                    }
                    self.give(definition, &format!("--{name}"), (text, false));
                }
                None => {
                    let place = self.place(definition);
                    self.faults.push(format!("--{name}: a value must follow (declared in {place})"));
                    self.refused(&definition.name);
                }
            }
        }
    }

    /// Whether the argument after a flag is its value: a text such as `--lr` is one only if no param is called so.
    fn is_value(&self, next: &str) -> bool {
        let name = next.strip_prefix("--").map(|flag| flag.split_once('=').map_or(flag, |(name, _)| name));
        name.is_none_or(|name| {
            self.find(name).is_none() && !name.starts_with(|c: char| c.is_ascii_alphabetic())
        })
    }

    /// The untyped form: the arguments are the program's. Values of declared names are recorded, marks are obeyed; answers
    /// the arguments without the marks.
    fn read_along(&mut self, arguments: &[String]) -> Vec<String> {
        let mut before = None;
        arguments.iter().map(|argument| self.read_one(argument, &mut before)).collect()
    }

    /// One argument; `before` is the flag whose value it may be.
    fn read_one<'b>(&mut self, argument: &'b str, before: &mut Option<&'b str>) -> String {
        let (flag, value) = match argument.split_once('=') {
            Some((flag, value)) if flag.starts_with("--") => (Some(flag), value),
            _ if is_flag(argument) => {
                self.note_slip(argument);
                *before = Some(argument);
                return argument.into();
            }
            _ => (None, argument),
        };
        let name = flag.or(before.take()).map(|flag| flag.trim_start_matches('-'));
        let value = match Mark::read(value) {
            None => {
                if let Some((name, definition)) = name.and_then(|name| Some((name, self.find(name)?))) {
                    self.give(definition, &format!("--{name}"), (value, false));
                }
                value.to_string()
            }
            Some(Mark::Plain(text)) => text.to_string(),
            Some(Mark::Grid) => {
                let text = "is a parameter grid, which this version does not run; give one value";
                self.faults.push(format!("{argument:?} {text}"));
                String::new()
            }
            Some(Mark::Param { value, name: own }) => self.take_mark(argument, own.or(name), value),
        };
        match flag {
            Some(flag) => format!("{flag}={value}"),
            None => value,
        }
    }

    /// A marked argument becomes a param; answers what the program gets in its place.
    fn take_mark(&mut self, argument: &str, name: Option<&str>, value: &str) -> String {
        let Some(name) = name else {
            self.faults.push(format!("{argument:?}: name the parameter, as {argument}:NAME"));
            return String::new();
        };
        if let Some(set) = self.value_of(name) {
            if !value.is_empty() {
                self.notes
                    .push(format!("parameter {name} keeps the value {set} that is set for it, not {value}"));
            }
            return set;
        }
        if value.is_empty() {
            self.faults
                .push(format!("{argument:?}: parameter {name:?} has no value; give it here or with -p"));
        } else if let Some(definition) = self.find(name) {
            self.give(definition, &format!("{argument:?}"), (value, false));
        } else {
            self.add(&format!("{argument:?}"), name, (value, false), None);
        }
        value.to_string()
    }

    /// The value that a param has so far, by `-p` or the file.
    fn value_of(&self, name: &str) -> Option<String> {
        let given = |name: &ParamName| self.values.get(name).and_then(|given| given.value.as_ref());
        let declared = self.find(name).and_then(|d| given(&d.name).or(d.default.as_ref()));
        let added = || self.added.iter().find(|param| param.name.as_str() == name).map(|param| &param.value);
        declared.or_else(added).map(ToString::to_string)
    }

    /// A flag of the program that looks like a declared name with a slip in it.
    fn note_slip(&mut self, flag: &str) {
        let name = flag.trim_start_matches('-');
        if let (None, Some(near)) = (self.find(name), nearest(name, self.names())) {
            let text =
                format!("goes to the program; it is not the parameter --{near}, which keeps its value");
            self.notes.push(format!("{flag} {text}"));
        }
    }

    /// Each `-p NAME:VALUE[:DESCRIPTION]`.
    fn read_dash_p(&mut self, parameters: &[String]) {
        let mut seen = Vec::new();
        for text in parameters {
            let Some((name, value, description)) = split_dash_p(text) else {
                self.faults.push(format!("-p {text}: must be NAME:VALUE, such as -p lr:0.1"));
                continue;
            };
            if seen.contains(&name) {
                self.faults.push(format!("-p {name}: given twice"));
                continue;
            }
            seen.push(name.clone());
            let quoted = value.starts_with('"') && value.ends_with('"') && value.len() >= 2;
            let value = if quoted { value[1..value.len() - 1].replace("\"\"", "\"") } else { value };
            if let Some(definition) = self.find(&name) {
                self.give(definition, &format!("-p {name}"), (&value, quoted));
                if let (Some(description), Some(given)) = (description, self.values.get_mut(&definition.name))
                {
                    given.description = Some(description);
                }
                continue;
            }
            if self.parameters.is_some_and(|parameters| parameters.form == Form::Typed) {
                self.unknown(&format!("-p {name}"), &name);
                continue;
            }
            self.add(&format!("-p {text}"), &name, (&value, quoted), description);
        }
    }

    /// A param that no file declares.
    fn add(&mut self, place: &str, name: &str, (text, quoted): (&str, bool), description: Option<String>) {
        let value = ParamValueText { text, quoted }.guess();
        match ParamName::new(name).map_err(|error| error.to_string()).and_then(|name| Ok((name, value?))) {
            Ok((name, value)) => self.added.push(Param {
                name,
                value,
                description: description.unwrap_or_default(),
                required: false,
                default: None,
            }),
            Err(error) => self.faults.push(format!("{place}: {error}")),
        }
    }

    fn give(&mut self, definition: &Definition, flag: &str, (text, quoted): (&str, bool)) {
        let typed = self.parameters.is_none_or(|parameters| parameters.form == Form::Typed);
        let value = match definition.kind {
            Some(kind) if typed => kind.value(text),
            // The file's value only hints at the kind: where a text, a larger or a broken number is given, that counts.
            Some(kind) => {
                ParamValueText { text, quoted }.guess().map(|guess| kind.value(text).unwrap_or(guess))
            }
            None => ParamValueText { text, quoted }.guess(),
        };
        let value = value.map_err(|error| {
            let place = self.place(definition);
            self.faults.push(format!("{flag}: {error} (declared in {place})"));
        });
        self.values.insert(definition.name.clone(), GivenValue { value: value.ok(), description: None });
    }

    fn unknown(&mut self, flag: &str, name: &str) {
        let file =
            self.parameters.map(|parameters| parameters.file.display().to_string()).unwrap_or_default();
        let text =
            match self.definitions().iter().find(|d| nearest(name, self.names()) == Some(d.name.as_str())) {
                Some(near) => {
                    self.refused(&near.name);
                    hint(name, self.names())
                }
                None => self.declared(),
            };
        self.faults.push(format!("{flag}: {file} declares no such parameter{text}"));
    }

    /// Remembers that a value was meant for this param, so that it is not called missing as well.
    fn refused(&mut self, name: &ParamName) {
        self.values.entry(name.clone()).or_insert(GivenValue { value: None, description: None });
    }

    fn declared(&self) -> String {
        match self.names().map(|name| format!("--{name}")).collect::<Vec<_>>() {
            names if names.is_empty() => "; it declares none".into(),
            names => format!("; declared are {}", names.join(", ")),
        }
    }

    fn param(&mut self, definition: &Definition) -> Option<Param> {
        let given = self.values.get(&definition.name);
        let value = match given {
            Some(given) => given.value.clone()?,
            None => match &definition.default {
                Some(value) => value.clone(),
                None if definition.required => {
                    let (name, place) = (&definition.name, self.place(definition));
                    let example = example(definition.kind);
                    self.faults.push(format!(
                        "parameter {:?} ({place}) needs a value and has no default; give it as `-- --{name} {example}`",
                        name.as_str()
                    ));
                    return None;
                }
                // A param without value is no param of this job: the program sees it as missing, as in 1.x.
                None => return None,
            },
        };
        let description = given.and_then(|given| given.description.clone());
        Some(Param {
            name: definition.name.clone(),
            description: description.unwrap_or_else(|| definition.description.clone()),
            required: definition.required,
            // In the untyped form another kind of value may be given, and the server takes a default of the value's kind only.
            default: definition.default.as_ref().and_then(|default| Kind::of(&value).exactly(default)),
            value,
        })
    }
}

fn example(kind: Option<Kind>) -> &'static str {
    match kind {
        Some(Kind::Boolean) => "true",
        Some(Kind::Integer) => "5",
        Some(Kind::Double) => "2.5",
        Some(Kind::String) | None => "VALUE",
    }
}

/// Whether an argument is a flag and not a value; negative numbers are values.
fn is_flag(argument: &str) -> bool {
    argument.starts_with('-') && argument.parse::<f64>().is_err() && argument.len() > 1
}

/// Splits `NAME:VALUE[:DESCRIPTION]`; a value in quotes may hold colons.
fn split_dash_p(text: &str) -> Option<(String, String, Option<String>)> {
    let (name, rest) = text.split_once(':').filter(|(name, _)| !name.is_empty())?;
    let quoted_end = rest.strip_prefix('"').and_then(|inside| {
        let inside_end = (0..inside.len()).filter(|&i| inside.is_char_boundary(i)).scan(false, |skip, i| {
            let quote = inside[i..].starts_with('"');
            let doubled = quote && inside[i + 1..].starts_with('"');
            let ends = quote && !doubled && !*skip;
            *skip = doubled && !*skip;
            Some(ends.then_some(i + 2))
        });
        inside_end.flatten().next()
    });
    let (value, description) = match quoted_end {
        Some(end) => (&rest[..end], rest[end..].strip_prefix(':')),
        None => match rest.split_once(':') {
            Some((value, description)) => (value, Some(description)),
            None => (rest, None),
        },
    };
    Some((name.into(), value.into(), description.map(String::from)))
}
