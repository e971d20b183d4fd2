//! A job's state: picture, word and colour, and the flag "not responding".

use neptune_wire::JobState;
use yew::prelude::*;

use super::icon::{Icon, Picture};

/// Which state.
#[derive(Properties, PartialEq)]
pub struct Props {
    /// Which.
    pub state: JobState,
    /// Its runner was not heard of for a while.
    #[prop_or_default]
    pub silent: bool,
    /// Shown when the pointer rests on it.
    #[prop_or_default]
    pub title: Option<AttrValue>,
}

/// The picture of a state.
pub fn icon_of(state: JobState) -> Icon {
    match state {
        JobState::Created => Icon::Created,
        JobState::Queued => Icon::Queued,
        JobState::Dispatched => Icon::Dispatched,
        JobState::Preparing => Icon::Preparing,
        JobState::Running => Icon::Running,
        JobState::Aborting => Icon::Aborting,
        JobState::Succeeded => Icon::Succeeded,
        JobState::Failed => Icon::Failed,
        JobState::Aborted => Icon::Aborted,
        JobState::Lost => Icon::Lost,
    }
}

/// Draws a state.
#[component]
pub fn StateBadge(props: &Props) -> Html {
    let name = props.state.as_str();
    html! {
        <span class={classes!("state", format!("state-{name}"))} title={props.title.clone()}>
            <Picture icon={icon_of(props.state)} />
            <span data-testid="job-state">{ name }</span>
            if props.silent {
                <span class="silent" title="not responding">
                    <Picture icon={Icon::Warning} />
                    <span class="visually-hidden">{ "not responding" }</span>
                </span>
            }
        </span>
    }
}
