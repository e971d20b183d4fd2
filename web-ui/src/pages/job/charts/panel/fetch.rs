//! Envelopes over the network: series that ask for the same range share one request.

use neptune_wire::columns::Table;
use neptune_wire::{ChannelName, JobId};

use crate::chart::track::Ask;
use crate::net::api::{Api, Failure};
use crate::state::address::encode_segment;

/// Series of one request: their names together stay far below the longest address that servers take.
const SERIES: usize = 20;

/// One series' wish.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Wanted {
    pub(super) channel: ChannelName,
    /// For the zoomed part, or for the whole.
    pub(super) part: bool,
    pub(super) ask: Ask,
}

/// One request.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::pages::job::charts) struct Question {
    pub(super) channels: Vec<ChannelName>,
    pub(super) part: bool,
    pub(super) ask: Ask,
    path: String,
}

/// Its answer: a table per channel, in the asked order.
#[derive(Debug)]
pub(in crate::pages::job::charts) struct Answer {
    pub(super) question: Question,
    pub(super) tables: Result<Vec<Table>, Failure>,
}

/// Puts wishes for one range together.
pub(super) fn together(job: &JobId, wanted: Vec<Wanted>, buckets: usize) -> Vec<Question> {
    let mut questions: Vec<Question> = Vec::new();
    for Wanted { channel, part, ask } in wanted {
        let same = |question: &&mut Question| question.part == part && question.ask == ask;
        if questions.iter_mut().filter(same).any(|question| question.channels.contains(&channel)) {
            continue;
        }
        match questions.iter_mut().filter(same).find(|question| question.channels.len() < SERIES) {
            Some(question) => question.channels.push(channel),
            None => questions.push(Question { channels: vec![channel], part, ask, path: String::new() }),
        }
    }
    for question in &mut questions {
        question.path = path(job, question, buckets);
    }
    questions
}

fn path(job: &JobId, question: &Question, buckets: usize) -> String {
    let mut path = format!("/envelope?buckets={buckets}");
    for channel in &question.channels {
        path.push_str(&format!("&series={job}/{}", encode_segment(channel.as_str())));
    }
    for (name, end) in [("from", question.ask.from), ("to", question.ask.to)] {
        if let Some(end) = end {
            path.push_str(&format!("&{name}={end}"));
        }
    }
    path
}

impl Question {
    pub(super) async fn ask(self, api: &Api) -> Answer {
        let tables = api.read_columns(&self.path).await;
        Answer { question: self, tables }
    }
}
