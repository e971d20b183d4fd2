//! What a person should hear about, once per condition. The library prints nothing else.

use std::collections::HashSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use neptune_wire::{ChannelName, Problem};

/// Something a person should know; its text is one line and says what to do.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Notice {
    /// The server cannot be reached; data waits on disk.
    Unreachable {
        /// The address that was tried.
        url: String,
        /// What the network said.
        why: String,
        /// Where the data waits.
        spool: PathBuf,
    },
    /// The program ended before the server had everything.
    Unfinished {
        /// The address.
        url: String,
        /// Where the rest waits.
        spool: PathBuf,
    },
    /// The connection is back after [`Notice::Unreachable`].
    Reconnected {
        /// The address.
        url: String,
    },
    /// The server answered, but will not take this writer: wrong token, deleted job, wrong server.
    Refused {
        /// What the server said.
        problem: Problem,
        /// Where the data waits.
        spool: PathBuf,
    },
    /// The server's disk is full; data waits here until there is room there.
    ServerFull {
        /// Where the data waits.
        spool: PathBuf,
    },
    /// What answered does not speak Neptune's protocol.
    NotNeptune {
        /// The address.
        url: String,
        /// What was wrong with the answer.
        why: String,
        /// Where the data waits.
        spool: PathBuf,
    },
    /// A newer attempt of the job exists; nothing more is sent.
    Superseded {
        /// What the server said.
        problem: Problem,
    },
    /// The server will not have this channel; its points are dropped and counted.
    ChannelRefused {
        /// The channel.
        channel: ChannelName,
        /// Why.
        problem: Problem,
    },
    /// A frame was refused for its content; its points are counted on the job.
    FrameRefused {
        /// The first reason of this kind.
        problem: Problem,
    },
    /// A patch or a chart was refused.
    RequestRefused {
        /// Which, for people: `chart "loss"`, `tags`.
        what: String,
        /// Why.
        problem: Problem,
    },
    /// An image's file was refused; the point is dropped and counted.
    ImageRefused {
        /// Why.
        problem: Problem,
    },
    /// The spool cannot be written.
    SpoolFailed {
        /// Where.
        spool: PathBuf,
        /// What the disk said.
        why: String,
    },
    /// A text or an image is larger than all memory for such; it is dropped and counted.
    TooLarge {
        /// The channel.
        channel: ChannelName,
        /// Its size.
        size_bytes: usize,
        /// The most that fits.
        limit_bytes: usize,
    },
    /// Memory and spool are full: points are dropped and counted.
    Dropping {
        /// Where the spool is.
        spool: PathBuf,
        /// Why it takes no more.
        why: String,
    },
    /// The program ended, and neither the server nor the spool has taken the last of what it sent.
    Lost {
        /// Points (texts, log pieces, images).
        points: u64,
        /// Changes of the job: patches and charts.
        changes: usize,
        /// Where the spool is.
        spool: PathBuf,
        /// Why it took no more.
        why: String,
    },
    /// The server will not have this runner's control connection; the job cannot be aborted from the page.
    ControlRefused {
        /// What the server said.
        problem: Problem,
    },
    /// The operating system gives no thread or no file descriptor for the background.
    NoThread {
        /// What it said.
        why: String,
    },
    /// The server has forgotten frames that it had acknowledged (restored from a backup).
    ServerForgot {
        /// How many frames are gone.
        frames: u64,
    },
}

impl Notice {
    /// Notices of one condition are said once until the condition ends.
    fn condition(&self) -> String {
        match self {
            Self::ChannelRefused { channel, .. } => format!("channel {channel}"),
            Self::TooLarge { channel, .. } => format!("too large {channel}"),
            Self::RequestRefused { what, problem } => format!("request {what} {}", problem.code.as_str()),
            Self::FrameRefused { problem } => format!("frame {}", problem.code.as_str()),
            Self::ImageRefused { problem } => format!("image {}", problem.code.as_str()),
            Self::ControlRefused { problem } => format!("control {}", problem.code.as_str()),
            Self::Refused { problem, .. } => format!("refused {}", problem.code.as_str()),
            other => {
                let text = format!("{other:?}");
                text.split([' ', '{']).next().unwrap_or_default().to_owned()
            }
        }
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable { url, why, spool } => {
                let spool = spool.display();
                write!(
                    f,
                    "{url} cannot be reached ({why}); the program runs on, data waits in {spool} until the server is back or `neptune sync` uploads it"
                )
            }
            Self::Unfinished { url, spool } => write!(
                f,
                "not everything reached {url} in time; the rest waits in {}, `neptune sync` uploads it",
                spool.display()
            ),
            Self::Reconnected { url } => write!(f, "connected to {url} again, sending what waited"),
            Self::Refused { problem, spool } => write!(
                f,
                "the server refuses this job's data: {problem}; data waits in {}, `neptune sync` uploads it once the token and the address are right",
                spool.display()
            ),
            Self::ServerFull { spool } => {
                write!(f, "the server's disk is full; data waits in {} until there is room", spool.display())
            }
            Self::NotNeptune { url, why, spool } => write!(
                f,
                "{url} does not answer like a Neptune server ({why}); check the address; data waits in {}",
                spool.display()
            ),
            Self::Superseded { problem } => {
                write!(f, "{problem}; a newer attempt of this job runs, this one sends nothing more")
            }
            Self::ChannelRefused { channel, problem } => {
                write!(f, "channel \"{channel}\" is refused: {problem}; its points are dropped and counted")
            }
            Self::FrameRefused { problem } => {
                write!(f, "points were refused: {problem}; they are counted as dropped on the job's page")
            }
            Self::RequestRefused { what, problem } => write!(f, "{what} is refused: {problem}"),
            Self::ImageRefused { problem } => {
                write!(f, "an image is refused: {problem}; it is counted as dropped on the job's page")
            }
            Self::SpoolFailed { spool, why } => {
                write!(f, "the spool {} cannot be written: {why}; data waits in memory", spool.display())
            }
            Self::TooLarge { channel, size_bytes, limit_bytes } => write!(
                f,
                "something of {size_bytes} bytes is dropped from channel \"{channel}\": at most {limit_bytes} bytes fit into memory; it is counted on the job's page"
            ),
            Self::Dropping { spool, why } => write!(
                f,
                "points are being dropped: memory is full and the spool {} takes no more ({why}); they are counted on the job's page",
                spool.display()
            ),
            Self::Lost { points, changes, spool, why } => {
                let spool = spool.display();
                write!(f, "lost, as no server has taken it and the spool {spool} could not ({why}): ")?;
                match (points, changes) {
                    (points, 0) => write!(f, "points: {points}"),
                    (0, changes) => write!(f, "changes of the job: {changes}"),
                    (points, changes) => write!(f, "points: {points}, changes of the job: {changes}"),
                }
            }
            Self::ControlRefused { problem } => {
                write!(
                    f,
                    "the server refuses to watch this job: {problem}; it cannot be aborted from the page"
                )
            }
            Self::NoThread { why } => {
                write!(f, "no background thread: {why}; raise the limits of this process, nothing is sent")
            }
            Self::ServerForgot { frames } => write!(
                f,
                "the server has lost {frames} frames that it had acknowledged; was it restored from a backup?"
            ),
        }
    }
}

/// Where notices go: a function of the embedder, called at most once per condition until that condition ends.
#[derive(Clone)]
pub struct Notices {
    tell: Arc<dyn Fn(&Notice) + Send + Sync>,
    said: Arc<Mutex<HashSet<String>>>,
}

impl Notices {
    /// Gives notices to a function, from a background thread; it must not block.
    pub fn to(tell: impl Fn(&Notice) + Send + Sync + 'static) -> Self {
        Self { tell: Arc::new(tell), said: Arc::default() }
    }

    /// Writes each notice as one line to standard error.
    pub fn stderr() -> Self {
        Self::to(|notice| {
            // Standard error may be closed; there is nobody left to tell then.
            // Not by `writeln!`: a forked child would wait for ever for its lock, if another thread was writing just then.
            let _ = nix::unistd::write(std::io::stderr(), format!("neptune: {notice}\n").as_bytes());
        })
    }

    /// Tells nobody.
    pub fn silent() -> Self {
        Self::to(|_| {})
    }

    /// Notices of the same embedder with a memory of their own, for a forked process.
    pub(crate) fn afresh(&self) -> Self {
        Self { tell: Arc::clone(&self.tell), said: Arc::default() }
    }

    /// Tells, unless this condition was told and has not ended.
    pub(crate) fn say(&self, notice: Notice) {
        let fresh =
            self.said.lock().expect("nothing panics while it holds this lock").insert(notice.condition());
        if fresh {
            (self.tell)(&notice);
        }
    }

    /// The connection works: what was said about it may be said again. Tells `Reconnected` if a person heard otherwise.
    pub(crate) fn connected(&self, url: &str) {
        let away = {
            let mut said = self.said.lock().expect("nothing panics while it holds this lock");
            said.retain(|condition| !condition.starts_with("refused ") && condition != "NotNeptune");
            said.remove("Reconnected");
            said.remove("Unreachable")
        };
        if away {
            self.say(Notice::Reconnected { url: url.into() });
        }
    }

    /// The server's disk takes data again.
    pub(crate) fn server_takes(&self) {
        self.said.lock().expect("nothing panics while it holds this lock").remove("ServerFull");
    }

    /// The disk takes data: what was said about it may be said again.
    pub(crate) fn disk_works(&self) {
        let mut said = self.said.lock().expect("nothing panics while it holds this lock");
        said.remove("SpoolFailed");
        said.remove("Dropping");
    }
}

impl Default for Notices {
    fn default() -> Self {
        Self::stderr()
    }
}

impl fmt::Debug for Notices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Notices")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_is_told_once_until_it_ends() {
        let told = Arc::new(Mutex::new(vec![]));
        let hook = Arc::clone(&told);
        let notices = Notices::to(move |notice| hook.lock().unwrap().push(notice.to_string()));
        let away = Notice::Unreachable { url: "http://x".into(), why: "refused".into(), spool: "/s".into() };
        notices.say(away.clone());
        notices.say(away.clone());
        notices.connected("http://x");
        notices.connected("http://x");
        notices.say(away);
        let told = told.lock().unwrap();
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(told[1].contains("connected to http://x again"));
    }
}
