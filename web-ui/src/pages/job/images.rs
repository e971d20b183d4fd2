//! The image channels of a job: each with its newest image, a slider over its steps, and a strip of neighbours.

mod viewer;

use std::rc::Rc;

use neptune_wire::{ChannelKind, Job};
use yew::prelude::*;

use super::Channels;
use crate::components::notice::Notice;
use viewer::Viewer;

#[derive(Properties, PartialEq)]
pub(super) struct Props {
    pub(super) job: Rc<Job>,
    pub(super) channels: Channels,
}

#[component]
pub(super) fn Images(props: &Props) -> Html {
    let mut images = props.channels.values().filter(|channel| channel.kind == ChannelKind::Image).peekable();
    if images.peek().is_none() {
        let text = if props.job.state.is_ended() {
            "The job ended without sending a picture."
        } else {
            "Pictures appear here as the job sends them."
        };
        return html! { <Notice title="No images" {text} /> };
    }
    let viewer = |channel: &neptune_wire::Channel| {
        html! { <Viewer key={channel.name.as_str()} job={props.job.id.clone()} channel={channel.name.clone()} count={channel.summary.count} /> }
    };
    html! { <div class="images">{ for images.map(viewer) }</div> }
}
