//! The head of a job's page: who it is, how it stands, the way to end it, and the parts of the page.

use std::rc::Rc;

use neptune_wire::{ChannelKind, ChannelOrigin, Job};
use wasm_bindgen::JsCast;
use web_sys::HtmlInputElement;
use yew::prelude::*;

use super::Channels;
use crate::components::dialog::Dialog;
use crate::components::icon::{Icon, Picture};
use crate::components::link::PageLink;
use crate::components::state_badge::StateBadge;
use crate::components::time::{Age, Duration, ExactTime};
use crate::net::clock;
use crate::route::{Route, Tab};
use crate::state::address::Query;
use crate::state::{format, timing};

/// Of which job.
#[derive(Properties, PartialEq)]
pub(super) struct Props {
    pub(super) job: Rc<Job>,
    /// As it stands in the address.
    pub(super) id: AttrValue,
    pub(super) tab: Tab,
    pub(super) channels: Channels,
    pub(super) abort_fault: Option<AttrValue>,
    /// Confirmed, with a reason.
    pub(super) on_abort: Callback<Option<String>>,
}

#[component]
pub(super) fn JobHeader(props: &Props) -> Html {
    let job = &props.job;
    let name = if job.name.is_empty() { "(no name)" } else { &job.name };
    html! {
        <header class="job-head">
            <div class="job-title">
                <PageLink to={Route::Jobs} class="job-up">{ "Jobs" }</PageLink>
                <span class="faint" aria-hidden="true">{ "/" }</span>
                <span class="mono job-id">{ job.id.to_string() }</span>
                <h1 class="ellipsis" title={name.to_owned()}>{ name.to_owned() }</h1>
                <StateBadge state={job.state} silent={false} />
                <Abort job={job.clone()} on_abort={props.on_abort.clone()} />
            </div>
            { warnings(props) }
            { facts(job) }
            { tabs(props) }
        </header>
    }
}

fn warnings(props: &Props) -> Html {
    let job = &props.job;
    let warning = |text: String| html! { <p class="warning"><Picture icon={Icon::Warning} />{ text }</p> };
    let silent = job.silent_since_micros.map(|since| {
        let east = clock::minutes_east(since.0);
        html! {
            <p class="warning" data-testid="not-responding">
                <Picture icon={Icon::Warning} />
                <span>{ "Not responding since " }<time>{ format::date_time(since.0, east) }</time>{ ": its runner was not heard of. It may still be running." }</span>
            </p>
        }
    });
    let dropped = (job.dropped_points > 0).then(|| {
        warning(format!(
            "{} had to be dropped and are missing below.",
            format::counted(job.dropped_points, "point or byte of log", "points or bytes of log")
        ))
    });
    let deleted = job.deleted.as_ref().map(|deleted| {
        let east = clock::minutes_east(deleted.until_micros.0);
        html! {
            <p class="warning" data-testid="deleted">
                <Picture icon={Icon::Warning} />
                <span>{ format!("Deleted ({}): out of the lists, takes no writes. ", deleted.reason) }<code>{ format!("neptune restore {}", job.id) }</code>{ " brings it back until " }<time>{ format::date_time(deleted.until_micros.0, east) }</time>{ "." }</span>
            </p>
        }
    });
    let abort =
        props.abort_fault.as_ref().map(|fault| warning(format!("The abort did not reach the job: {fault}.")));
    html! { <>{ deleted }{ silent }{ dropped }{ abort }</> }
}

fn facts(job: &Rc<Job>) -> Html {
    let fact = |name: &'static str, value: Html| html! { <div class="fact"><dt>{ name }</dt><dd>{ value }</dd></div> };
    html! {
        <dl class="facts">
            if let Some(reason) = &job.reason {
                { fact("Reason", html! { <span class="ellipsis fact-reason" title={reason.clone()}>{ reason }</span> }) }
            }
            { fact("Created", html! { <Age micros={job.created_micros.0} /> }) }
            if let Some(started) = job.started_micros {
                { fact("Started", html! { <ExactTime micros={started.0} /> }) }
            }
            { fact("Duration", html! { <Duration job={job.clone()} /> }) }
            if let Some(host) = &job.host {
                { fact("Host", html! { <span class="ellipsis" title={host.clone()}>{ host }</span> }) }
            }
            if let Some(code) = job.exit_code {
                { fact("Exit status", html! { <span class="number">{ code }</span> }) }
            }
            if !job.tags.is_empty() {
                { fact("Tags", html! { <span class="tags">{ for job.tags.iter().map(tag) }</span> }) }
            }
        </dl>
    }
}

fn tag(tag: &neptune_wire::Tag) -> Html {
    let query = Rc::new(Query::default().set("tags", tag));
    html! { <PageLink to={Route::Jobs} {query} class="tag" title={AttrValue::from(format!("jobs tagged {tag}"))}>{ tag.as_str() }</PageLink> }
}

fn tabs(props: &Props) -> Html {
    let count = |tab: Tab| {
        let of = |kind: ChannelKind| props.channels.values().filter(move |channel| channel.kind == kind);
        match tab {
            Tab::Charts => {
                of(ChannelKind::Numeric).filter(|channel| channel.origin == ChannelOrigin::User).count()
            }
            Tab::Logs => of(ChannelKind::Text).count(),
            Tab::Images => of(ChannelKind::Image).count(),
            Tab::Details => 0,
        }
    };
    let one = |tab: Tab| {
        let number = count(tab);
        html! {
            <PageLink to={tab.of(&props.id)} class="tab" current={tab == props.tab} testid={AttrValue::from(format!("tab-{tab}"))}>
                { tab.title() }
                if number > 0 {
                    <span class="tab-count">{ number }</span>
                }
            </PageLink>
        }
    };
    html! { <nav class="tabs" aria-label="Parts of the job">{ for Tab::ALL.into_iter().map(one) }</nav> }
}

#[derive(Properties, PartialEq)]
struct AbortProps {
    job: Rc<Job>,
    on_abort: Callback<Option<String>>,
}

/// The button, and the window that asks once more.
#[component]
fn Abort(props: &AbortProps) -> Html {
    let asking = use_state(|| false);
    let reason = use_state(String::new);
    if !timing::can_abort(&props.job) {
        return Html::default();
    }
    let open = Callback::from({
        let asking = asking.setter();
        move |_: MouseEvent| asking.set(true)
    });
    let close = Callback::from({
        let asking = asking.setter();
        move |()| asking.set(false)
    });
    let oninput = Callback::from({
        let reason = reason.setter();
        move |event: InputEvent| {
            if let Some(field) = event.target().and_then(|target| target.dyn_into::<HtmlInputElement>().ok())
            {
                reason.set(field.value());
            }
        }
    });
    let onsubmit = Callback::from({
        let (asking, reason, on_abort) = (asking.setter(), reason.clone(), props.on_abort.clone());
        move |event: SubmitEvent| {
            event.prevent_default();
            let reason = reason.trim().to_owned();
            on_abort.emit((!reason.is_empty()).then_some(reason));
            asking.set(false);
        }
    });
    html! {
        <>
            <button class="button button-danger" data-testid="abort-button" onclick={open}>{ "Abort" }</button>
            if *asking {
                <Dialog title={format!("Abort {}?", props.job.id)} on_close={close.clone()} testid="abort-dialog">
                    <form {onsubmit}>
                        <p>{ "The program and everything it started is asked to end, and killed after ten seconds. What it has sent so far stays." }</p>
                        <label class="labelled">{ "Reason, shown on the job (may be empty)" }
                            <input class="field" maxlength="256" value={(*reason).clone()} {oninput} autocomplete="off" data-testid="abort-reason" />
                        </label>
                        <div class="dialog-buttons">
                            <button class="button" type="button" onclick={close.reform(|_: MouseEvent| ())}>{ "Keep it running" }</button>
                            <button class="button button-danger" type="submit" data-testid="abort-confirm">{ "Abort the job" }</button>
                        </div>
                    </form>
                </Dialog>
            }
        </>
    }
}
