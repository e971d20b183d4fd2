//! The connection of a writer: waiting, connecting, open, or given up.

use std::future::{Future, pending};
use std::pin::Pin;
use std::time::Instant;

use neptune_wire::Problem;
use neptune_wire::ingest::IngestDown;
use neptune_wire::problem::Code;

use super::{Away, Link, POINTS};
use crate::notice::Notice;
use crate::rest::{Access, RestError};
use crate::session::{Heard, Session};
use crate::socket::Socket;

/// Where the connection stands.
pub(super) enum Connection {
    /// There is no server to connect to.
    Offline,
    /// The next try is then.
    Waiting(Instant),
    /// A try is under way.
    Connecting(Pin<Box<dyn Future<Output = Result<Socket, RestError>> + Send>>),
    /// Messages travel.
    Open(Socket),
    /// A newer attempt runs: nothing is sent any more.
    Stopped,
}

/// What a connection does next.
pub(super) enum Event {
    /// It is time for a try.
    Due,
    /// A try ended.
    Connected(Result<Socket, RestError>),
    /// A message came, or the connection ended.
    Heard(Result<IngestDown, RestError>),
    /// There is room for a message.
    Room,
}

impl Connection {
    pub(super) fn begin(access: Access) -> Self {
        Self::Connecting(Box::pin(Socket::connect(access)))
    }

    pub(super) fn is_stopped(&self) -> bool {
        matches!(self, Self::Stopped)
    }

    pub(super) fn is_waiting(&self) -> bool {
        matches!(self, Self::Waiting(_))
    }

    /// Makes the next try then, if it was to be later.
    pub(super) fn hurry(&mut self, at: Instant) {
        if let Self::Waiting(until) = self {
            *until = at.min(*until);
        }
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self, Self::Open(_))
    }

    /// The next event. Cancel-safe.
    pub(super) async fn next(&mut self, wants_room: bool) -> Event {
        match self {
            Self::Offline | Self::Stopped => pending().await,
            Self::Waiting(until) => {
                tokio::time::sleep_until((*until).into()).await;
                Event::Due
            }
            Self::Connecting(connect) => Event::Connected(connect.as_mut().await),
            Self::Open(socket) => {
                let outgoing = socket.outgoing.clone();
                tokio::select! {
                    biased;
                    heard = socket.next() => Event::Heard(heard),
                    room = outgoing.reserve(), if wants_room => {
                        drop(room);
                        Event::Room
                    }
                }
            }
        }
    }
}

impl Link {
    pub(super) fn take_event(&mut self, event: Event) {
        match event {
            Event::Due => self.connect(),
            Event::Connected(Ok(socket)) => {
                self.sessions.iter_mut().for_each(Session::reset_connection);
                self.connection = Connection::Open(socket);
            }
            Event::Connected(Err(error)) => self.disconnect(error, true),
            Event::Heard(Ok(message)) => self.hear(message),
            Event::Heard(Err(error)) => self.disconnect(error, false),
            Event::Room => self.send(),
        }
    }

    pub(super) fn connect(&mut self) {
        if let Some(rest) = &self.rest {
            self.connection = Connection::begin(rest.access().clone());
        }
    }

    /// Gives a connection up, or a try at one, and plans the next.
    fn disconnect(&mut self, error: RestError, was_try: bool) {
        self.sessions.iter_mut().for_each(Session::reset_connection);
        let now = Instant::now();
        let spool = self.shared.settings.spool_dir.clone();
        let (why, told) = match error {
            RestError::Refused(problem) if problem.code == Code::Superseded => return self.stop(problem),
            RestError::Refused(problem)
                if !matches!(problem.code, Code::Busy | Code::ReadOnly | Code::Internal) =>
            {
                let why = problem.to_string();
                self.shared.settings.notices.say(Notice::Refused { problem, spool });
                (why, true)
            }
            RestError::Protocol { url, why } => {
                self.shared.settings.notices.say(Notice::NotNeptune { url, why: why.clone(), spool });
                (why, true)
            }
            RestError::Unreachable { why, .. } => (why, false),
            other => (other.to_string(), false),
        };
        let since = self.away.as_ref().map_or(now, |away| away.since);
        self.away = Some(Away { since, why, told });
        self.connection = Connection::Waiting(now + self.backoff.next_wait());
        self.connection_failed(now, was_try);
    }

    /// A newer attempt runs: what this one still holds will never be taken.
    pub(super) fn stop(&mut self, problem: Problem) {
        self.shared.settings.notices.say(Notice::Superseded { problem });
        self.connection = Connection::Stopped;
        self.publish();
    }

    fn hear(&mut self, message: IngestDown) {
        let session = match &message {
            IngestDown::SessionOpened { session, .. }
            | IngestDown::ChannelsOpened { session, .. }
            | IngestDown::Acked { session, .. }
            | IngestDown::Refused { session, .. }
            | IngestDown::Gap { session, .. }
            | IngestDown::SessionClosed { session, .. } => *session,
            // What the server has heard it keeps, and acknowledges when there is room.
            IngestDown::Problem { session: Some(session), problem }
                if problem.code == Code::ReadOnly
                    && self.sessions.iter().any(|known| known.id() == *session && known.is_sending()) =>
            {
                self.server_full = true;
                let spool = self.shared.settings.spool_dir.clone();
                return self.shared.settings.notices.say(Notice::ServerFull { spool });
            }
            // Nothing more comes after a problem that is not about a frame's content: begin anew, later.
            IngestDown::Problem { problem, .. } => {
                return self.disconnect(RestError::Refused(problem.clone()), false);
            }
            IngestDown::ControlOpened { .. } | IngestDown::Wish(_) | IngestDown::Abort(_) => return,
        };
        let Some(at) = self.sessions.iter().position(|known| known.id() == session) else {
            return self.reconnect(format!("an answer about session {session}, which is not ours"));
        };
        let heard = self.sessions[at].hear(message);
        self.settle_outcomes();
        let notices = self.shared.settings.notices.clone();
        match heard {
            Heard::Nothing | Heard::Ended => {}
            Heard::Opened { forgotten } => {
                if forgotten > 0 {
                    notices.say(Notice::ServerForgot { frames: forgotten });
                }
                if at == POINTS {
                    self.opened();
                }
            }
            Heard::ChannelsRefused(refused) => {
                for refused in refused {
                    if let Some(core) = self.shared.find_channel(refused.number) {
                        let (channel, problem) = (core.name.clone(), refused.problem);
                        notices.say(Notice::ChannelRefused { channel, problem });
                    }
                }
            }
            Heard::FrameRefused(problem) => notices.say(Notice::FrameRefused { problem }),
            Heard::Reconnect(why) => self.reconnect(why),
        }
        if !self.flushes.is_empty() || self.closing.is_some() {
            self.finish_flushes(Instant::now());
        }
    }

    fn opened(&mut self) {
        self.backoff.reset();
        self.away = None;
        self.stats.connections += 1;
        if let Some(rest) = &self.rest {
            self.shared.settings.notices.connected(&rest.access().url);
        }
        self.publish();
    }

    fn reconnect(&mut self, why: String) {
        let url = self.rest.as_ref().map(|rest| rest.access().url.clone()).unwrap_or_default();
        self.disconnect(RestError::Unreachable { url, why }, false);
    }

    /// Sends as much as there is room for.
    fn send(&mut self) {
        let open = self.open_session();
        let closes = self.closes_session();
        let Connection::Open(socket) = &self.connection else { return };
        let mut trouble = None;
        for session in &mut self.sessions {
            match socket.send_session(session, &mut self.blobs, &open, closes) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    trouble = Some(error.to_string());
                    break;
                }
            }
        }
        if let Some(why) = trouble {
            let spool = self.shared.settings.spool_dir.clone();
            self.shared.settings.notices.say(Notice::SpoolFailed { spool, why: why.clone() });
            self.reconnect(format!("the spool cannot be read: {why}"));
        }
    }
}
