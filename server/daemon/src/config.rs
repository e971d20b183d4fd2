//! Every setting of the server. File < environment < flag; unknown names are errors; `--print-config` shows the result.
//!
//! To add one: a field with its default, a line in [`SETTINGS`], and use it. Flag, variable, file key, help and
//! `--print-config` follow from that line.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use clap::{Arg, ArgMatches};
use neptune_engine::Times;
use neptune_http::{Network, PublicHost, TlsFiles};

use crate::setting::{ENVIRONMENT, Origin, Setting, Wrong};

/// Port of `neptune_wire::server::DEFAULT_URL`.
const PORT: u16 = 8420;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The settings of a server.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// Everything the server keeps lies here.
    pub(crate) data: PathBuf,
    /// Where it listens; port 0 picks a free one.
    pub(crate) listen: SocketAddr,
    /// Gets the server's URL once it answers.
    pub(crate) port_file: Option<PathBuf>,
    /// Names under which people reach it.
    pub(crate) public_hosts: Vec<PublicHost>,
    /// Proxies that end TLS in front of it.
    pub(crate) trusted_proxies: Vec<Network>,
    tls_certificate: Option<PathBuf>,
    tls_key: Option<PathBuf>,
    /// Directives of tracing: `info`, `neptune_http=debug,info`.
    pub(crate) log: String,
    pub(crate) log_format: LogFormat,
    /// Memory of the database for what was read.
    pub(crate) cache_bytes: usize,
    /// Time that points stay open before they are sealed.
    pub(crate) seal_after: Duration,
    /// Time that open requests get to end when the server stops.
    pub(crate) drain: Duration,
    /// Time in which a deleted job can be restored.
    pub(crate) restore: Duration,
    /// Time for which a blob is kept that no job names.
    pub(crate) grace: Duration,
    texts: BTreeMap<&'static str, Vec<String>>,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data: "./neptune-data".into(),
            listen: SocketAddr::new(Ipv4Addr::LOCALHOST.into(), PORT),
            port_file: None,
            public_hosts: vec![],
            trusted_proxies: vec![],
            tls_certificate: None,
            tls_key: None,
            log: "info".into(),
            log_format: LogFormat::Text,
            cache_bytes: 64 << 20,
            seal_after: Duration::from_secs(60),
            drain: Duration::from_secs(10),
            restore: 30 * DAY,
            grace: 7 * DAY,
            texts: BTreeMap::new(),
        }
    }
}

/// All settings, in the order in which they are shown.
static SETTINGS: [Setting; 14] = [
    Setting {
        key: "data",
        flag: "data",
        value: "DIR",
        many: false,
        help: "Where everything is kept [default: ./neptune-data]",
        set: |config, texts| {
            config.data = path(&texts[0])?;
            Ok(())
        },
        show: |config| Some(text(config.data.display())),
    },
    Setting {
        key: "listen",
        flag: "listen",
        value: "ADDRESS:PORT",
        many: false,
        help: "Where to listen; port 0 picks a free one [default: 127.0.0.1:8420]",
        set: |config, texts| {
            let numeric = texts[0].replace("localhost:", "127.0.0.1:");
            let wanted = "must be an address and a port, such as 127.0.0.1:8420 or [::1]:8420";
            config.listen = numeric.parse().map_err(|_| format!("{:?} {wanted}", texts[0]))?;
            Ok(())
        },
        show: |config| Some(text(config.listen)),
    },
    Setting {
        key: "port_file",
        flag: "port-file",
        value: "FILE",
        many: false,
        help: "Write the server's URL into this file once it answers",
        set: |config, texts| {
            config.port_file = Some(path(&texts[0])?);
            Ok(())
        },
        show: |config| config.port_file.as_ref().map(|path| text(path.display())),
    },
    Setting {
        key: "public_hosts",
        flag: "public-host",
        value: "NAME",
        many: true,
        help: "A host name under which people reach the server, perhaps with a port; may be repeated",
        set: |config, texts| {
            config.public_hosts = list(texts)?;
            Ok(())
        },
        show: |config| config.shown_texts("public_hosts"),
    },
    Setting {
        key: "trusted_proxies",
        flag: "trusted-proxy",
        value: "ADDRESS",
        many: true,
        help: "A proxy, or a range such as 10.0.0.0/8, that ends TLS in front of the server; may be repeated",
        set: |config, texts| {
            config.trusted_proxies = list(texts)?;
            Ok(())
        },
        show: |config| config.shown_texts("trusted_proxies"),
    },
    Setting {
        key: "tls_certificate",
        flag: "tls-certificate",
        value: "FILE",
        many: false,
        help: "PEM file with the certificate and its chain; needs --tls-key",
        set: |config, texts| {
            config.tls_certificate = Some(path(&texts[0])?);
            Ok(())
        },
        show: |config| config.tls_certificate.as_ref().map(|path| text(path.display())),
    },
    Setting {
        key: "tls_key",
        flag: "tls-key",
        value: "FILE",
        many: false,
        help: "PEM file with the certificate's private key",
        set: |config, texts| {
            config.tls_key = Some(path(&texts[0])?);
            Ok(())
        },
        show: |config| config.tls_key.as_ref().map(|path| text(path.display())),
    },
    Setting {
        key: "log",
        flag: "log",
        value: "LEVEL",
        many: false,
        help: "error, warn, info, debug, or directives such as neptune_http=debug,info [default: info]",
        set: |config, texts| {
            crate::telemetry::check_directives(&texts[0])?;
            config.log.clone_from(&texts[0]);
            Ok(())
        },
        show: |config| Some(text(&config.log)),
    },
    Setting {
        key: "log_format",
        flag: "log-format",
        value: "FORMAT",
        many: false,
        help: "text or json [default: text]",
        set: |config, texts| {
            config.log_format = match texts[0].as_str() {
                "text" => LogFormat::Text,
                "json" => LogFormat::Json,
                other => return Err(format!("{other:?} must be text or json")),
            };
            Ok(())
        },
        show: |config| {
            Some(text(match config.log_format {
                LogFormat::Text => "text",
                LogFormat::Json => "json",
            }))
        },
    },
    Setting {
        key: "cache_bytes",
        flag: "cache-bytes",
        value: "BYTES",
        many: false,
        help: "Memory of the database for what was read [default: 67108864]",
        set: |config, texts| {
            config.cache_bytes = number(&texts[0], 1 << 20, 1 << 40)? as usize;
            Ok(())
        },
        show: |config| Some(toml::Value::Integer(config.cache_bytes as i64)),
    },
    Setting {
        key: "seal_after_seconds",
        flag: "seal-after-seconds",
        value: "SECONDS",
        many: false,
        help: "Time that points wait for others to be compressed with them [default: 60]",
        set: |config, texts| {
            config.seal_after = Duration::from_secs(number(&texts[0], 0, 86_400)?);
            Ok(())
        },
        show: |config| Some(toml::Value::Integer(config.seal_after.as_secs() as i64)),
    },
    Setting {
        key: "drain_millis",
        flag: "drain-millis",
        value: "MILLIS",
        many: false,
        help: "Time that open requests get to end when the server stops [default: 10000]",
        set: |config, texts| {
            config.drain = Duration::from_millis(number(&texts[0], 0, 600_000)?);
            Ok(())
        },
        show: |config| Some(toml::Value::Integer(config.drain.as_millis() as i64)),
    },
    Setting {
        key: "restore_days",
        flag: "restore-days",
        value: "DAYS",
        many: false,
        help: "Time in which a deleted job can be restored [default: 30]",
        set: |config, texts| {
            config.restore = number(&texts[0], 0, 36_500)? as u32 * DAY;
            Ok(())
        },
        show: |config| Some(toml::Value::Integer((config.restore.as_secs() / DAY.as_secs()) as i64)),
    },
    Setting {
        key: "grace_days",
        flag: "grace-days",
        value: "DAYS",
        many: false,
        help: "Time for which a file is kept that no job names, as somebody may be about to [default: 7]",
        set: |config, texts| {
            config.grace = number(&texts[0], 0, 36_500)? as u32 * DAY;
            Ok(())
        },
        show: |config| Some(toml::Value::Integer((config.grace.as_secs() / DAY.as_secs()) as i64)),
    },
];

/// Where each value came from, by key.
pub(crate) type Origins = BTreeMap<&'static str, Origin>;

/// The flags of all settings, and `--config`.
pub(crate) fn arguments() -> Vec<Arg> {
    let file =
        Arg::new("config").long("config").value_name("FILE").help("TOML file with settings").global(true);
    std::iter::once(file).chain(SETTINGS.iter().map(Setting::argument)).collect()
}

/// Gathers the settings from file, environment and flags.
pub(crate) fn gather(matches: &ArgMatches) -> Result<(Config, Origins), Wrong> {
    let given = |key: &str| -> Vec<String> {
        let innermost = innermost(matches);
        innermost.get_many::<String>(key).unwrap_or_default().cloned().collect()
    };
    let environment: Vec<(String, String)> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| name.starts_with(ENVIRONMENT))
        .collect();
    let file = given("config").pop().or_else(|| variable(&environment, &format!("{ENVIRONMENT}CONFIG")));
    let mut gathering = Gathering { config: Config::default(), origins: Origins::new() };
    if let Some(file) = file {
        gathering.read_file(Path::new(&file))?;
    }
    gathering.read_environment(&environment)?;
    for setting in &SETTINGS {
        let texts = given(setting.key);
        if !texts.is_empty() {
            gathering.apply(setting, &texts, Origin::Flag(setting.flag))?;
        }
    }
    gathering.finish()
}

/// A global flag is found where it was given last: behind the verb, if there is one.
fn innermost(matches: &ArgMatches) -> &ArgMatches {
    matches.subcommand().map_or(matches, |(_, inner)| innermost(inner))
}

fn variable(environment: &[(String, String)], name: &str) -> Option<String> {
    environment.iter().find(|(own, _)| own == name).map(|(_, value)| value.clone())
}

struct Gathering {
    config: Config,
    origins: Origins,
}

impl Gathering {
    fn read_file(&mut self, path: &Path) -> Result<(), Wrong> {
        let origin = Origin::File(path.display().to_string());
        let wrong = |key: &str, wanted: String| Wrong { key: key.into(), origin: origin.clone(), wanted };
        let text = std::fs::read_to_string(path).map_err(|error| wrong("config", error.to_string()))?;
        let table: toml::Table =
            text.parse().map_err(|error: toml::de::Error| wrong("config", error.to_string()))?;
        for (key, value) in &table {
            let setting = find_setting(key).ok_or_else(|| wrong(key, unknown_key()))?;
            let texts = setting.texts_of_toml(value).map_err(|wanted| wrong(key, wanted))?;
            self.apply(setting, &texts, origin.clone())?;
        }
        Ok(())
    }

    fn read_environment(&mut self, environment: &[(String, String)]) -> Result<(), Wrong> {
        for (name, value) in environment {
            let key = name[ENVIRONMENT.len()..].to_ascii_lowercase();
            if key == "config" {
                continue;
            }
            let origin = Origin::Environment(name.clone());
            let setting = find_setting(&key).filter(|setting| setting.variable() == *name);
            let Some(setting) = setting else {
                return Err(Wrong { key, origin, wanted: unknown_key() });
            };
            let texts = setting.texts_of_variable(value);
            self.apply(setting, &texts, origin)?;
        }
        Ok(())
    }

    fn apply(&mut self, setting: &'static Setting, texts: &[String], origin: Origin) -> Result<(), Wrong> {
        let wrong = |wanted| Wrong { key: setting.key.into(), origin: origin.clone(), wanted };
        (setting.set)(&mut self.config, texts).map_err(wrong)?;
        self.config.texts.insert(setting.key, texts.to_vec());
        self.origins.insert(setting.key, origin);
        Ok(())
    }

    fn finish(self) -> Result<(Config, Origins), Wrong> {
        let Self { config, origins } = self;
        let pair =
            [("tls_certificate", config.tls_certificate.is_some()), ("tls_key", config.tls_key.is_some())];
        if let [(given, true), (lacking, false)] | [(lacking, false), (given, true)] = pair {
            let origin = origins.get(given).cloned().unwrap_or(Origin::Default);
            return Err(Wrong { key: given.into(), origin, wanted: format!("needs {lacking} beside it") });
        }
        Ok((config, origins))
    }
}

fn find_setting(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}

fn unknown_key() -> String {
    let keys: Vec<_> = SETTINGS.iter().map(|setting| setting.key).collect();
    format!("unknown setting, the settings are {}", keys.join(", "))
}

/// All settings as a file that would give them, each with its origin.
pub(crate) fn print(config: &Config, origins: &Origins) -> String {
    let line = |setting: &Setting| {
        let origin = origins.get(setting.key).unwrap_or(&Origin::Default);
        match (setting.show)(config) {
            Some(value) => format!("{} = {value}  # {origin}\n", setting.key),
            None => format!("# {} is not set\n", setting.key),
        }
    };
    SETTINGS.iter().map(line).collect()
}

impl Config {
    /// What the engine does after which time.
    pub(crate) fn times(&self) -> Times {
        let micros = |time: Duration| time.as_micros() as i64;
        Times {
            seal_after_micros: micros(self.seal_after),
            restore_micros: micros(self.restore),
            grace_micros: micros(self.grace),
        }
    }

    /// Certificate and key, if any.
    pub(crate) fn tls(&self) -> Option<TlsFiles> {
        let (certificate, key) = (self.tls_certificate.clone()?, self.tls_key.clone()?);
        Some(TlsFiles { certificate, key })
    }

    /// Whether only this machine reaches the server.
    pub(crate) fn is_loopback(&self) -> bool {
        self.listen.ip().to_canonical().is_loopback()
    }

    /// Whether requests need no token.
    pub(crate) fn is_open(&self) -> bool {
        self.is_loopback() && self.trusted_proxies.is_empty()
    }

    /// The URL under which the server is reached from this machine.
    pub(crate) fn url(&self, bound: SocketAddr) -> String {
        let scheme = if self.tls().is_some() { "https" } else { "http" };
        let ip = match bound.ip() {
            ip if !ip.is_unspecified() => ip,
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        };
        format!("{scheme}://{}", SocketAddr::new(ip, bound.port()))
    }

    fn shown_texts(&self, key: &str) -> Option<toml::Value> {
        let texts = self.texts.get(key).cloned().unwrap_or_default();
        Some(toml::Value::Array(texts.into_iter().map(toml::Value::String).collect()))
    }
}

fn text(value: impl ToString) -> toml::Value {
    toml::Value::String(value.to_string())
}

fn path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() { Err("must be a path, it is empty".into()) } else { Ok(text.into()) }
}

fn list<T: FromStr<Err = String>>(texts: &[String]) -> Result<Vec<T>, String> {
    texts.iter().map(|text| text.parse()).collect()
}

fn number(text: &str, least: u64, most: u64) -> Result<u64, String> {
    let wanted = || format!("{text:?} must be a whole number from {least} to {most}");
    text.parse().ok().filter(|number| (least..=most).contains(number)).ok_or_else(wanted)
}
