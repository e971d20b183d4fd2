//! One row of the jobs list; on a narrow screen the same cells stack into a card.

use std::rc::Rc;

use neptune_wire::{Job, Tag};
use wasm_bindgen::JsCast;
use web_sys::Element;
use yew::prelude::*;

use super::link::PageLink;
use super::state_badge::StateBadge;
use super::time::{Age, Duration};
use crate::route::Tab;

/// Params shown in a row; all of them are in its title and on the job's page.
const PARAMS: usize = 4;

/// Which job.
#[derive(Properties, PartialEq)]
pub struct Props {
    /// Which.
    pub job: Rc<Job>,
    /// Its number in the whole list, from 0.
    pub index: u64,
    /// The keyboard is here.
    pub selected: bool,
    /// The row was clicked, not a link or button in it.
    pub on_open: Callback<Rc<Job>>,
    /// A tag was clicked.
    pub on_tag: Callback<Tag>,
}

/// Draws a row.
#[component]
pub fn JobRow(props: &Props) -> Html {
    let job = &props.job;
    let onclick = use_callback((job.clone(), props.on_open.clone()), |event: MouseEvent, (job, open)| {
        let inner = event.target().and_then(|target| target.dyn_into::<Element>().ok());
        let meant_inner = inner.is_some_and(|element| element.closest("a, button").ok().flatten().is_some());
        if !meant_inner {
            open.emit(job.clone());
        }
    });
    let id = job.id.to_string();
    let to = Tab::Charts.of(&id);
    html! {
        <tr
            class={classes!("row", props.selected.then_some("row-selected"))}
            aria-rowindex={(props.index + 2).to_string()}
            aria-current={props.selected.then_some("true")}
            data-testid={format!("job-row-{id}")}
            {onclick}
        >
            <td class="cell-state">
                <StateBadge state={job.state} silent={job.silent_since_micros.is_some()} title={job.reason.clone().map(AttrValue::from)} />
            </td>
            <td class="cell-id"><PageLink to={to.clone()} class="mono">{ id.clone() }</PageLink></td>
            <td class="cell-name">
                <PageLink {to} title={AttrValue::from(job.name.clone())}>
                    { if job.name.is_empty() { "(no name)" } else { &job.name } }
                </PageLink>
            </td>
            <td class="cell-tags" title={tag_list(job)}>{ tags(job, &props.on_tag) }</td>
            <td class="cell-created"><Age micros={job.created_micros.0} /></td>
            <td class="cell-duration"><Duration job={job.clone()} /></td>
            <td class="cell-host" title={job.host.clone()}>{ job.host.as_deref().unwrap_or("–") }</td>
            <td class="cell-params" title={params(job, usize::MAX, "\n")}>{ params(job, PARAMS, "  ") }</td>
        </tr>
    }
}

fn tag_list(job: &Job) -> Option<String> {
    let tags: Vec<_> = job.tags.iter().map(Tag::as_str).collect();
    (!tags.is_empty()).then(|| tags.join(" "))
}

fn tags(job: &Job, on_tag: &Callback<Tag>) -> Html {
    let one = |tag: &Tag| {
        let onclick = on_tag.reform({
            let tag = tag.clone();
            move |_: MouseEvent| tag.clone()
        });
        html! { <button key={tag.as_str()} class="tag" title={format!("filter by {tag}")} {onclick}>{ tag.as_str() }</button> }
    };
    html! { <span class="tags">{ for job.tags.iter().map(one) }</span> }
}

fn params(job: &Job, at_most: usize, separator: &str) -> String {
    let shown = job.params.iter().take(at_most).map(|param| format!("{}={}", param.name, param.value));
    let mut text = shown.collect::<Vec<_>>().join(separator);
    if job.params.len() > at_most {
        text.push_str(&format!("{separator}+{} more", job.params.len() - at_most));
    }
    text
}
