//! From a YAML tree to a [`Config`]: the table of keys, each with the shape it takes.
//!
//! The keys are those of 1.x and 2.x together; `-` and `_` are the same in a key. A key that has no effect (yet) is
//! taken with a note that says so; one that was never a key is refused with the nearest that is.

use std::cell::RefCell;
use std::path::Path;

use neptune_wire::job::{Direction, Metric};
use neptune_wire::{ChannelName, ParamName, ProjectKey, Tag};

use super::yaml::{self, Node, Value};
use super::{Config, Fault, LogChannel};
use crate::nearest::hint;
use crate::params::{Definition, Form, Kind, ParamValueText, Parameters, parse_boolean};

type Read = fn(&mut Config, &Place<'_>);

const KEYS: &[(&str, Read)] = &[
    ("name", |config, place| config.name = place.text()),
    ("description", |config, place| config.description = place.text()),
    ("project", |config, place| config.project = place.text()),
    ("project-key", |config, place| {
        config.project_key = place.checked(ProjectKey::new);
    }),
    ("tags", |config, place| place.each(|item| config.tags.extend(item.checked(Tag::new)))),
    ("properties", read_properties),
    ("parameters", |config, place| config.parameters = read_parameters(place)),
    ("metric", |config, place| config.metric = read_metric(place)),
    ("exclude", |config, place| place.each(|item| config.exclude.extend(item.text()))),
    ("paths-to-copy", read_paths),
    ("paths-to-dump", read_paths),
    ("storage", read_storage),
    ("dump-dir-url", read_storage),
    ("storage-url", read_storage),
    ("executable", |config, place| config.executable = place.text().map(Into::into)),
    ("command", |config, place| place.each(|item| config.command.extend(item.text()))),
    ("log-channels", |config, place| place.each(|item| config.log_channels.extend(read_log_channel(item)))),
    ("disable-stdout-channel", |config, place| config.disable_stdout_channel = place.flag()),
    ("disable-stderr-channel", |config, place| config.disable_stderr_channel = place.flag()),
    ("server", |config, place| config.server = place.text()),
    // Together they make `server`, see `server_of_host`.
    ("host", |config, place| config.server = place.text()),
    ("port", |_, place| {
        place.checked(|text| {
            text.parse::<u16>().map_err(|_| format!("{text:?} is no port; give one such as 8420"))
        });
    }),
    ("username", |config, place| config.note(place, "signing in is by token: neptune login")),
    ("password", |config, place| config.note(place, "signing in is by token: neptune login; remove it here")),
    ("docker-image", |config, place| config.note(place, FOR_QUEUED_JOBS)),
    ("requirements", |config, place| config.note(place, FOR_QUEUED_JOBS)),
    ("environment", |config, place| config.note(place, FOR_QUEUED_JOBS)),
    ("worker", |config, place| config.note(place, FOR_QUEUED_JOBS)),
    ("input", |config, place| config.note(place, FOR_QUEUED_JOBS)),
    ("pip-requirements-file", |config, place| config.note(place, FOR_QUEUED_JOBS)),
    ("backup", |config, place| config.note(place, "not done in this version; the files stay where they are")),
    ("ml-framework", |config, place| config.note(place, "not done in this version; log from the program")),
    ("owner", |config, place| config.note(place, "has no effect; a job belongs to whoever runs it")),
    ("open-webbrowser", |config, place| config.note(place, "has no effect; the page's address is printed")),
    ("tracking", |config, place| config.note(place, "has no effect; nothing is reported to anybody")),
    ("organization-name", |config, place| config.note(place, "has no effect; there are projects only")),
    ("notebook", |config, place| config.note(place, "has no effect")),
    ("notebook-file", |config, place| config.note(place, "has no effect")),
];

const FOR_QUEUED_JOBS: &str = "has no effect on a job that runs here; it is for queued jobs";

/// Reads a whole document.
pub(super) fn read(source: &str, file: &Path) -> Result<Config, Vec<Fault>> {
    let root = yaml::parse(source)
        .map_err(|error| vec![Fault { line: error.line, key: String::new(), text: error.text }])?;
    let faults = Faults::default();
    let mut config = Config::default();
    let whole = Place { faults: &faults, file, path: String::new(), node: &root };
    let entries = whole.map("a map of keys such as `name: my job`");
    for (key, node) in entries {
        let known = key.name.replace('_', "-");
        match KEYS.iter().find(|(name, _)| *name == known) {
            Some((_, read)) => read(&mut config, &whole.below(key.name.clone(), node)),
            None => {
                let near = hint(&key.name, KEYS.iter().map(|(name, _)| *name));
                whole.fault_at(key, format!("unknown key{near}"));
            }
        }
    }
    check_whole(&mut config, &whole);
    let mut faults = faults.into_inner();
    faults.sort_by_key(|fault| fault.line);
    if faults.is_empty() { Ok(config) } else { Err(faults) }
}

/// What no key alone can say.
fn check_whole(config: &mut Config, whole: &Place<'_>) {
    let Value::Map(entries) = &whole.node.value else { return };
    let find = |name: &str| entries.iter().find(|(key, _)| key.name.replace('_', "-") == name);
    if let Some((_, host)) = find("host") {
        let port = find("port").and_then(|(_, port)| port.text()).unwrap_or("8420");
        let host = host.text().unwrap_or_default();
        config.server = Some(match host.contains("://") {
            true => host.to_string(),
            false => format!("http://{host}:{port}"),
        });
    }
    for (index, channel) in config.log_channels.iter().enumerate() {
        let repeated = config.log_channels[..index].iter().any(|before| before.prefix == channel.prefix);
        if let (true, Some((key, _))) = (repeated, find("log-channels")) {
            whole.fault_at(key, format!("the prefix {:?} stands here twice", channel.prefix));
        }
    }
}

type Faults = RefCell<Vec<Fault>>;

/// One node under its path, with a place for what is wrong.
struct Place<'a> {
    faults: &'a Faults,
    file: &'a Path,
    path: String,
    node: &'a Node,
}

impl<'a> Place<'a> {
    fn fault(&self, text: impl Into<String>) {
        let fault = Fault { line: self.node.line, key: self.path.clone(), text: text.into() };
        self.faults.borrow_mut().push(fault);
    }

    /// A fault of a key in this map.
    fn fault_at(&self, key: &yaml::Key, text: String) {
        let path =
            if self.path.is_empty() { key.name.clone() } else { format!("{}.{}", self.path, key.name) };
        self.faults.borrow_mut().push(Fault { line: key.line, key: path, text });
    }

    /// A node within this one.
    fn below(&self, path: String, node: &'a Node) -> Place<'a> {
        Place { faults: self.faults, file: self.file, path, node }
    }

    /// The value of a key of this map.
    fn field(&self, name: &str, node: &'a Node) -> Place<'a> {
        self.below(format!("{}.{name}", self.path), node)
    }

    /// A text that is there.
    fn text(&self) -> Option<String> {
        let text = self.node.text().map(String::from);
        if text.is_none() {
            self.fault(format!("must be a text, not {}", self.node.kind()));
        }
        text
    }

    fn flag(&self) -> Option<bool> {
        let flag = self.node.text().and_then(parse_boolean);
        if flag.is_none() {
            self.fault("must be true or false");
        }
        flag
    }

    /// A text that passes a check, whose error says what would be right.
    fn checked<T, E: std::fmt::Display>(&self, check: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
        check(&self.text()?).map_err(|error| self.fault(error.to_string())).ok()
    }

    /// Calls `read` for each item of a list.
    fn each(&self, mut read: impl FnMut(&Place<'_>)) {
        match &self.node.value {
            Value::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    let path = format!("{}[{}]", self.path, index + 1);
                    read(&self.below(path, item));
                }
            }
            _ if self.node.is_null() => {}
            _ => self.fault(format!("must be a list, such as [a, b], not {}", self.node.kind())),
        }
    }

    /// The entries of a map; `example` says what would be one.
    fn map(&self, example: &str) -> &'a [(yaml::Key, Node)] {
        match &self.node.value {
            Value::Map(entries) => entries,
            _ => {
                self.fault(format!("must be {example}, not {}", self.node.kind()));
                &[]
            }
        }
    }

    /// The values of a map that takes only these keys; anything else in it is a fault.
    fn fields<const N: usize>(&self, names: [&str; N], example: &str) -> [Option<&'a Node>; N] {
        let mut found = [None; N];
        for (key, node) in self.map(example) {
            match names.iter().position(|name| *name == key.name) {
                Some(index) => found[index] = Some(node),
                None => {
                    let near = hint(&key.name, names);
                    let rest = if near.is_empty() {
                        format!("; the keys here are {}", names.join(", "))
                    } else {
                        near
                    };
                    self.fault_at(key, format!("unknown key{rest}"));
                }
            }
        }
        found
    }
}

impl Config {
    fn note(&mut self, place: &Place<'_>, text: &str) {
        self.notes.push(format!("{}:{}: {}: {text}", place.file.display(), place.node.line, place.path));
    }
}

fn read_paths(config: &mut Config, place: &Place<'_>) {
    place.each(|item| config.paths.extend(item.text().map(Into::into)));
}

fn read_storage(config: &mut Config, place: &Place<'_>) {
    config.storage = place.text().map(|text| expand_home(&text));
}

/// Reads a path: `~/…` as a shell would, a `file://` URL as the path it is.
pub fn expand_home(text: &str) -> std::path::PathBuf {
    let text = text.strip_prefix("file://").unwrap_or(text);
    match (text.strip_prefix("~/"), std::env::home_dir()) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => text.into(),
    }
}

/// A list of `{key, value}` (1.x, 2.x) or a plain map.
fn read_properties(config: &mut Config, place: &Place<'_>) {
    const EXAMPLE: &str = "a map {key: …, value: …}";
    if let Value::Map(entries) = &place.node.value {
        for (key, node) in entries {
            if let Some(value) = place.field(&key.name, node).text() {
                config.properties.insert(key.name.clone(), value);
            }
        }
        return;
    }
    place.each(|item| {
        let [key, value] = item.fields(["key", "value"], EXAMPLE);
        let key = item.needed("key", key, EXAMPLE).and_then(|key| key.text());
        let value = item.needed("value", value, EXAMPLE).and_then(|value| value.text());
        if let (Some(key), Some(value)) = (key, value) {
            config.properties.insert(key, value);
        }
    });
}

fn read_metric(place: &Place<'_>) -> Option<Metric> {
    const EXAMPLE: &str = "a map {channel: loss, direction: minimize}";
    let [channel, direction, goal, _name] = place.fields(["channel", "direction", "goal", "name"], EXAMPLE);
    let channel = place.needed("channel", channel, EXAMPLE)?.checked(ChannelName::new)?;
    if direction.is_some() && goal.is_some() {
        place.fault("direction and goal are the same thing; keep one");
        return None;
    }
    let direction = place.needed("direction", direction.or(goal), EXAMPLE)?.checked(|text| match text {
        "minimize" => Ok(Direction::Minimize),
        "maximize" => Ok(Direction::Maximize),
        _ => Err(format!("{text:?} must be minimize or maximize")),
    })?;
    Some(Metric { channel, direction })
}

/// `prefix`, `prefix:name`, `{prefix: name}` or `{prefix: …, name: …}`.
fn read_log_channel(place: &Place<'_>) -> Option<LogChannel> {
    let result = match &place.node.value {
        Value::Map(entries) => match entries.as_slice() {
            [(key, name)] if key.name != "prefix" => {
                LogChannel::new(&key.name, name.text().unwrap_or_default())
            }
            _ => {
                let [prefix, name] = place.fields(["prefix", "name"], "{prefix: …, name: …}");
                let prefix = prefix.and_then(Node::text).unwrap_or_default();
                match name.and_then(Node::text) {
                    Some(name) => LogChannel::new(prefix, name),
                    None => LogChannel::parse(prefix),
                }
            }
        },
        _ => LogChannel::parse(&place.text()?),
    };
    result.map_err(|text| place.fault(text)).ok()
}

fn read_parameters(place: &Place<'_>) -> Option<Parameters> {
    let file = place.file.to_path_buf();
    let mut definitions: Vec<Definition> = Vec::new();
    let form = match &place.node.value {
        Value::List(_) => {
            place.each(|item| {
                let Some(definition) = read_typed(item) else { return };
                match definitions.iter().find(|before| before.name == definition.name) {
                    Some(before) => {
                        let text =
                            format!("parameter {:?} stands in line {} already", before.name, before.line);
                        item.fault(text);
                    }
                    None => definitions.push(definition),
                }
            });
            Form::Typed
        }
        Value::Map(entries) => {
            for (key, node) in entries {
                definitions.extend(read_untyped(&place.field(&key.name, node), key));
            }
            Form::Untyped
        }
        _ if place.node.is_null() => return None,
        _ => {
            place.fault(format!(
                "must be a list of {{name, type, required, default, description}} or a map of names to values, not {}",
                place.node.kind()
            ));
            return None;
        }
    };
    Some(Parameters { file, form, definitions })
}

/// One `{name, type, required, default, description}`.
fn read_typed(place: &Place<'_>) -> Option<Definition> {
    const EXAMPLE: &str = "a map {name: amplitude, type: double, default: 1.0}";
    let [name, kind, required, default, description] =
        place.fields(["name", "type", "required", "default", "description"], EXAMPLE);
    let name = place.needed("name", name, EXAMPLE).and_then(|name| name.checked(ParamName::new));
    let kind = place.needed("type", kind, EXAMPLE).and_then(|kind| kind.checked(Kind::parse));
    let required = required.map(|node| place.field("required", node).flag());
    let (name, kind) = (name?, kind?);
    let default = match default.filter(|node| !node.is_null()) {
        Some(node) => Some(place.field("default", node).value(|text, _| kind.value(text))?),
        None => None,
    };
    let required = required.unwrap_or(Some(false))?;
    let description = description.and_then(Node::text).unwrap_or_default().to_string();
    Some(Definition { name, kind: Some(kind), required, default, description, line: place.node.line })
}

/// `name: value`, `name: {value: …, description: …}` or `name: {default: …, description: …}`.
fn read_untyped(place: &Place<'_>, key: &yaml::Key) -> Option<Definition> {
    let name = ParamName::new(&key.name).map_err(|error| place.fault(error.to_string())).ok()?;
    let (value, description) = match &place.node.value {
        Value::Map(_) => {
            let example = "a value or a map {value: …, description: …}";
            let [value, default, description] = place.fields(["value", "default", "description"], example);
            (value.or(default), description.and_then(Node::text).unwrap_or_default().to_string())
        }
        _ => (Some(place.node), String::new()),
    };
    let default = match value.filter(|node| !node.is_null()) {
        Some(node) => {
            let guess = |text: &str, quoted| ParamValueText { text, quoted }.guess();
            Some(place.below(place.path.clone(), node).value(guess)?)
        }
        None => None,
    };
    let kind = default.as_ref().map(Kind::of);
    Some(Definition { name, kind, required: default.is_none(), default, description, line: key.line })
}

impl<'a> Place<'a> {
    /// A field that must be there.
    fn needed(&self, name: &str, node: Option<&'a Node>, example: &str) -> Option<Place<'a>> {
        // What is no map at all was a fault already.
        if node.is_none() && matches!(self.node.value, Value::Map(_)) {
            self.fault(format!("{name} is missing; this is {example}"));
        }
        node.map(|node| self.field(name, node))
    }

    /// A param's value from a scalar, empty ones included, and whether it stands in quotes; a list is a grid.
    fn value<T>(&self, check: impl FnOnce(&str, bool) -> Result<T, String>) -> Option<T> {
        let value = match &self.node.value {
            Value::Scalar { text, quoted } => check(text, *quoted),
            Value::List(_) => Err(
                "a list is a parameter grid, which this version does not run; give one value, or put a text in quotes"
                    .into(),
            ),
            Value::Map(_) => Err("must be one value, not a map".into()),
        };
        value.map_err(|text| self.fault(text)).ok()
    }
}
