//! Names of columns: how they are written, read and told apart.

use std::fmt;

/// What a column holds of a job.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Operand {
    Field(Field),
    /// A summary of a numeric channel.
    Metric {
        name: String,
        stat: Stat,
    },
    Param(String),
    Property(String),
    /// MLflow's times are milliseconds; otherwise as the field.
    Millis(Field),
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $text:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub(crate) enum $name {
            $($variant),*
        }

        impl $name {
            pub(crate) const ALL: &[$name] = &[$($name::$variant),*];

            pub(crate) fn as_str(self) -> &'static str {
                match self {
                    $($name::$variant => $text),*
                }
            }
        }
    };
}

words!(
    /// What every job has.
    Field {
        Id = "id",
        Uid = "uid",
        Project = "project",
        Name = "name",
        Description = "description",
        State = "state",
        Reason = "reason",
        Host = "host",
        Tag = "tag",
        Created = "created",
        Started = "started",
        Ended = "ended",
        Duration = "duration",
        Attempt = "attempt",
        ExitCode = "exit_code",
        Dropped = "dropped_points",
    }
);

words!(
    /// What is known of all points of a channel.
    Stat {
        Last = "last",
        Min = "min",
        Max = "max",
        Mean = "mean",
        Count = "count",
    }
);

impl Field {
    /// Finds a field by its name or by one of MLflow's names for it.
    pub(crate) fn find(name: &str) -> Option<Operand> {
        let name = name.to_ascii_lowercase();
        if let Some(field) = Field::ALL.iter().find(|field| field.as_str() == name) {
            return Some(Operand::Field(*field));
        }
        Some(match name.as_str() {
            "run_id" => Operand::Field(Field::Id),
            "run_name" => Operand::Field(Field::Name),
            "status" => Operand::Field(Field::State),
            "tags" => Operand::Field(Field::Tag),
            "start_time" => Operand::Millis(Field::Started),
            "end_time" => Operand::Millis(Field::Ended),
            _ => return None,
        })
    }

    /// Times are microseconds since the epoch.
    pub(crate) fn is_time(self) -> bool {
        matches!(self, Field::Created | Field::Started | Field::Ended)
    }
}

impl Stat {
    pub(crate) fn find(name: &str) -> Option<Stat> {
        Stat::ALL.iter().copied().find(|stat| name.eq_ignore_ascii_case(stat.as_str()))
    }
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Operand::Field(field) | Operand::Millis(field) => f.write_str(field.as_str()),
            Operand::Metric { name, stat } => write!(f, "metric.{}.{}", written(name, true), stat.as_str()),
            Operand::Param(name) => write!(f, "param.{}", written(name, false)),
            Operand::Property(name) => write!(f, "property.{}", written(name, false)),
        }
    }
}

/// Whether a character may stand in a name that is not quoted.
pub(crate) fn is_bare(c: char) -> bool {
    !c.is_whitespace() && !c.is_control() && !"(),=<>!~\"'`".contains(c)
}

/// A name as it is written: bare where it can be.
fn written(name: &str, metric: bool) -> String {
    let bare = !name.is_empty() && name.chars().all(is_bare) && !(metric && name.contains('.'));
    if bare { name.to_owned() } else { quote(name) }
}

/// A text in quotes.
pub(crate) fn quote(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}
