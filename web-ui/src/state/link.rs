//! The live connection as a state machine: what to send and when to try again. Sockets and clocks are elsewhere.
//!
//! Whoever shows something holds a subscription for as long as it is shown. When the connection comes back, all of them
//! are made again under their old numbers; each holder compares the marks of [`LiveDown::Subscribed`] with what it
//! has and asks REST for the missing range only.
//!
//! [`LiveDown::Subscribed`]: neptune_wire::live::LiveDown::Subscribed

use std::collections::BTreeMap;

use neptune_wire::live::{LiveUp, Topic};

/// The first pause before trying again; it doubles up to [`LONGEST_PAUSE_MILLIS`].
pub const FIRST_PAUSE_MILLIS: u32 = 500;
/// The longest pause.
pub const LONGEST_PAUSE_MILLIS: u32 = 10_000;

/// How the page stands with its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Connection {
    /// The first try, or one after a pause.
    #[default]
    Connecting,
    /// What is shown is live.
    Open,
    /// The server is gone; what is shown stays. Tries again by itself.
    Lost,
}

/// The connection's state and the subscriptions that shall hold.
#[derive(Debug, Default)]
pub struct Link {
    connection: Connection,
    failures: u32,
    next_id: u32,
    topics: BTreeMap<u32, Topic>,
}

impl Link {
    /// How the page stands with its server, for people: a try after a loss still counts as lost.
    pub fn connection(&self) -> Connection {
        match self.connection {
            Connection::Connecting if self.failures > 0 => Connection::Lost,
            connection => connection,
        }
    }

    /// A try begins.
    pub fn connecting(&mut self) {
        self.connection = Connection::Connecting;
    }

    /// The socket opened: what to send now.
    pub fn opened(&mut self) -> Vec<LiveUp> {
        self.connection = Connection::Open;
        self.failures = 0;
        self.topics.iter().map(|(&id, topic)| LiveUp::Subscribe { id, topic: topic.clone() }).collect()
    }

    /// The socket closed or did not open: how long to wait before the next try. `chance` in 0..1 spreads the tries of
    /// many pages.
    pub fn closed(&mut self, chance: f64) -> u32 {
        self.connection = Connection::Lost;
        let pause = FIRST_PAUSE_MILLIS.saturating_mul(1 << self.failures.min(10)).min(LONGEST_PAUSE_MILLIS);
        self.failures += 1;
        (f64::from(pause) * (0.75 + 0.5 * chance.clamp(0.0, 1.0))) as u32
    }

    /// Adds a subscription; answers its number and what to send now, if the socket is open.
    pub fn subscribe(&mut self, topic: Topic) -> (u32, Option<LiveUp>) {
        self.next_id += 1;
        let id = self.next_id;
        self.topics.insert(id, topic.clone());
        (id, self.if_open(LiveUp::Subscribe { id, topic }))
    }

    /// Ends a subscription.
    pub fn unsubscribe(&mut self, id: u32) -> Option<LiveUp> {
        self.topics.remove(&id)?;
        self.if_open(LiveUp::Unsubscribe { id })
    }

    fn if_open(&self, message: LiveUp) -> Option<LiveUp> {
        (self.connection == Connection::Open).then_some(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jobs() -> Topic {
        Topic::Jobs { project: None }
    }

    #[test]
    fn a_subscription_made_before_the_socket_opens_is_sent_then() {
        let mut link = Link::default();
        link.connecting();
        let (id, now) = link.subscribe(jobs());
        assert_eq!(now, None);
        assert_eq!(link.opened(), [LiveUp::Subscribe { id, topic: jobs() }]);
        let (other, now) = link.subscribe(jobs());
        assert_eq!(now, Some(LiveUp::Subscribe { id: other, topic: jobs() }));
    }

    #[test]
    fn all_that_is_still_wanted_is_made_again_under_its_number() {
        let mut link = Link::default();
        link.opened();
        let (kept, _) = link.subscribe(jobs());
        let (dropped, _) = link.subscribe(jobs());
        link.closed(0.5);
        assert_eq!(link.unsubscribe(dropped), None, "there is no socket to say it on");
        link.connecting();
        assert_eq!(link.opened(), [LiveUp::Subscribe { id: kept, topic: jobs() }]);
    }

    #[test]
    fn pauses_grow_and_end() {
        let mut link = Link::default();
        let pauses: Vec<_> = (0..8).map(|_| link.closed(0.5)).collect();
        assert_eq!(pauses, [500, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000, 10_000]);
        link.opened();
        assert_eq!(link.closed(0.5), 500);
        assert_eq!((link.closed(0.0), link.closed(1.0)), (750, 2_500));
    }

    #[test]
    fn a_try_after_a_loss_is_not_shown_as_a_beginning() {
        let mut link = Link::default();
        assert_eq!(link.connection(), Connection::Connecting);
        link.closed(0.5);
        link.connecting();
        assert_eq!(link.connection(), Connection::Lost);
        link.opened();
        assert_eq!(link.connection(), Connection::Open);
    }
}
