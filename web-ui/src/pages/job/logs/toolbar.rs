//! Which log, the search in it, whether it is followed, and the way to all of its bytes.

use neptune_wire::server::API;
use neptune_wire::{Channel, ChannelOrigin, JobId};
use wasm_bindgen::JsCast;
use web_sys::HtmlInputElement;
use yew::prelude::*;

use crate::components::icon::{Icon, Picture};
use crate::state::address::encode_segment;
use crate::state::format;

#[derive(Properties, PartialEq)]
pub(super) struct Props {
    pub(super) job: JobId,
    /// All text channels, in the order they are offered.
    pub(super) texts: Vec<Channel>,
    /// The one that is shown.
    pub(super) channel: Channel,
    pub(super) typed: AttrValue,
    pub(super) total: u64,
    /// How many lines a search has found, and whether there may be more.
    pub(super) found: Option<(usize, bool)>,
    pub(super) follow: bool,
    pub(super) fault: Option<AttrValue>,
    pub(super) on_pick: Callback<neptune_wire::ChannelName>,
    pub(super) on_typed: Callback<String>,
    pub(super) on_follow: Callback<bool>,
    pub(super) on_retry: Callback<()>,
}

#[component]
pub(super) fn Toolbar(props: &Props) -> Html {
    let oninput = props.on_typed.reform(|event: InputEvent| {
        let field = event.target().and_then(|target| target.dyn_into::<HtmlInputElement>().ok());
        field.map(|field| field.value()).unwrap_or_default()
    });
    let follow = props.follow;
    html! {
        <div class="log-bar">
            <div class="log-sources" role="group" aria-label="Which log">{ for props.texts.iter().map(|text| source(props, text)) }</div>
            <label class="search">
                <Picture icon={Icon::Search} />
                <span class="visually-hidden">{ "Search this log" }</span>
                <input
                    type="search"
                    placeholder="Search this log"
                    value={props.typed.clone()}
                    data-search="true"
                    data-testid="log-search"
                    autocomplete="off"
                    spellcheck="false"
                    {oninput}
                />
                <kbd>{ "/" }</kbd>
            </label>
            <span class="log-count faint" role="status">{ count(props) }</span>
            <button
                class={classes!("button", follow.then_some("button-on"))}
                aria-pressed={follow.to_string()}
                disabled={props.found.is_some()}
                title="stay at the end while lines arrive"
                onclick={props.on_follow.reform(move |_: MouseEvent| !follow)}
                data-testid="log-follow"
            >
                { "Follow" }
            </button>
            if props.channel.origin.is_log() {
                <a class="button" href={raw(props)} download={file_name(props)} title="all bytes, exactly as they were written">
                    <Picture icon={Icon::Download} />{ "Raw" }
                </a>
            }
            if let Some(fault) = &props.fault {
                <p class="warning" role="alert">
                    <Picture icon={Icon::Warning} />{ format!("Some lines are not loaded: {fault}.") }
                    <button class="button button-small" onclick={props.on_retry.reform(|_: MouseEvent| ())}>{ "Try again" }</button>
                </p>
            }
        </div>
    }
}

fn source(props: &Props, text: &Channel) -> Html {
    let shown = text.name == props.channel.name;
    let label = match text.origin {
        ChannelOrigin::Stdout => "stdout",
        ChannelOrigin::Stderr => "stderr",
        _ => text.name.as_str(),
    };
    let onclick = props.on_pick.reform({
        let name = text.name.clone();
        move |_: MouseEvent| name.clone()
    });
    html! {
        <button class={classes!("log-source", shown.then_some("log-source-shown"))} aria-pressed={shown.to_string()} title={text.name.to_string()} {onclick}>
            <span class="ellipsis">{ label }</span>
            <span class="tab-count">{ format::count(if shown { props.total } else { text.summary.count }) }</span>
        </button>
    }
}

fn count(props: &Props) -> String {
    match props.found {
        Some((found, more)) => {
            let more = if more { "+" } else { "" };
            format!(
                "{}{more} of {}",
                format::count(found as u64),
                format::counted(props.total, "line", "lines")
            )
        }
        None => format::counted(props.total, "line", "lines"),
    }
}

fn raw(props: &Props) -> String {
    format!("{API}/jobs/{}/channels/{}/log", props.job, encode_segment(props.channel.name.as_str()))
}

fn file_name(props: &Props) -> String {
    format!("{}-{}.log", props.job, props.channel.name.as_str().rsplit('/').next().unwrap_or("log"))
}
