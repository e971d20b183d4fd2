//! Parameters with their schema, what is known of the run, and the source it ran from.

use std::rc::Rc;

use neptune_wire::job::Direction;
use neptune_wire::server::API;
use neptune_wire::snapshot::{File, Manifest, Mode, Snapshot};
use neptune_wire::{Job, Micros, Param, ParamValue};
use yew::prelude::*;

use crate::components::icon::{Icon, Picture};
use crate::components::notice::Notice;
use crate::components::time::ExactTime;
use crate::net::api::{Api, Failure};
use crate::state::address::encode_segment;
use crate::state::format;

/// Files shown before one asks for all.
const FILES: usize = 200;

#[derive(Properties, PartialEq)]
pub(super) struct Props {
    pub(super) job: Rc<Job>,
}

#[component]
pub(super) fn Details(props: &Props) -> Html {
    let job = &props.job;
    html! {
        <div class="details">
            <section class="card card-wide">
                <h2>{ "Parameters" }</h2>
                { params(&job.params) }
            </section>
            if !job.description.is_empty() {
                <section class="card"><h2>{ "Description" }</h2><p class="prose">{ &job.description }</p></section>
            }
            <section class="card"><h2>{ "Command" }</h2>{ command(&job.command) }</section>
            <section class="card"><h2>{ "Times" }</h2>{ times(job) }</section>
            <section class="card">
                <h2>{ "Properties" }</h2>
                { pairs(job.properties.iter().map(|(key, value)| (key.clone(), value.clone())), "No properties are set.") }
            </section>
            <section class="card">
                <h2>{ "Environment" }</h2>
                { pairs(job.environment.iter().map(|(key, value)| (key.clone(), value.clone())), "Nothing was recorded.") }
            </section>
            <section class="card"><h2>{ "Identity" }</h2>{ pairs(identity(job).into_iter(), "") }</section>
            <section class="card card-wide"><h2>{ "Source" }</h2><Source job={job.clone()} /></section>
        </div>
    }
}

fn params(params: &[Param]) -> Html {
    if params.is_empty() {
        return html! { <p class="faint">{ "The job has no parameters." }</p> };
    }
    let kind = |value: &ParamValue| match value {
        ParamValue::Boolean(_) => "boolean",
        ParamValue::Integer(_) => "integer",
        ParamValue::Double(_) => "double",
        ParamValue::String(_) => "string",
    };
    let row = |param: &Param| {
        let default = match &param.default {
            Some(default) => html! { <span class="mono">{ default.to_string() }</span> },
            None if param.required => html! { <span class="faint">{ "required" }</span> },
            None => html! { <span class="faint">{ "–" }</span> },
        };
        html! {
            <tr>
                <th scope="row" class="mono">{ param.name.as_str() }</th>
                <td class="mono param-value">{ param.value.to_string() }</td>
                <td class="faint">{ kind(&param.value) }</td>
                <td>{ default }</td>
                <td class="param-about">{ &param.description }</td>
            </tr>
        }
    };
    html! {
        <div class="wide-scroll" tabindex="0" role="region" aria-label="Parameters">
            <table class="plain" data-testid="params">
                <thead><tr>
                    { for ["Name", "Value", "Type", "Default", "About"].map(|title| html! { <th scope="col">{ title }</th> }) }
                </tr></thead>
                <tbody>{ for params.iter().map(row) }</tbody>
            </table>
        </div>
    }
}

fn command(command: &[String]) -> Html {
    if command.is_empty() {
        return html! { <p class="faint">{ "No command was recorded." }</p> };
    }
    html! { <pre class="command">{ format::command_line(command) }</pre> }
}

fn times(job: &Job) -> Html {
    let row = |name: &'static str, time: Option<Micros>| {
        let shown = match time {
            Some(Micros(micros)) => html! { <ExactTime {micros} /> },
            None => html! { <span class="faint">{ "–" }</span> },
        };
        html! { <><dt>{ name }</dt><dd>{ shown }</dd></> }
    };
    html! {
        <dl class="pairs">
            { row("Created", Some(job.created_micros)) }
            { row("Started", job.started_micros) }
            { row("Ended", job.ended_micros) }
        </dl>
    }
}

fn pairs(pairs: impl Iterator<Item = (String, String)>, none: &'static str) -> Html {
    let mut pairs = pairs.peekable();
    if pairs.peek().is_none() {
        return html! { <p class="faint">{ none }</p> };
    }
    let row = |(key, value): (String, String)| html! { <><dt>{ key }</dt><dd class="mono">{ value }</dd></> };
    html! { <dl class="pairs">{ for pairs.map(row) }</dl> }
}

fn identity(job: &Job) -> Vec<(String, String)> {
    let mut pairs = vec![("Id".into(), job.id.to_string()), ("Uid".into(), job.uid.to_string())];
    pairs.push(("Project".into(), job.project.to_string()));
    pairs.extend(job.attempt.map(|attempt| ("Attempt".into(), attempt.to_string())));
    pairs.extend(job.metric.as_ref().map(|metric| {
        let better = match metric.direction {
            Direction::Minimize => "smaller is better",
            Direction::Maximize => "larger is better",
        };
        ("Metric".into(), format!("{}, {better}", metric.channel))
    }));
    pairs.extend(job.snapshot.map(|snapshot| ("Snapshot".into(), snapshot.to_string())));
    pairs
}

#[derive(Clone, PartialEq)]
enum Tree {
    Loading,
    Failed(Failure),
    Here { about: Snapshot, manifest: Rc<Manifest> },
}

/// The files of the job's snapshot.
#[component]
fn Source(props: &Props) -> Html {
    let api = use_context::<Api>().expect("the root of the page provides the way to the server");
    let tree = use_state(|| Tree::Loading);
    let all = use_state(|| false);
    use_effect_with((props.job.id.clone(), props.job.snapshot), {
        let tree = tree.setter();
        move |(id, snapshot)| {
            let (id, exists) = (id.clone(), snapshot.is_some());
            wasm_bindgen_futures::spawn_local(async move {
                if exists {
                    tree.set(load(&api, &id.to_string()).await.unwrap_or_else(Tree::Failed));
                }
            });
        }
    });
    if props.job.snapshot.is_none() {
        return html! { <p class="faint">{ "The job was started without a snapshot of its source." }</p> };
    }
    let show_all = Callback::from({
        let all = all.setter();
        move |_: MouseEvent| all.set(true)
    });
    match &*tree {
        Tree::Loading => html! { <p class="faint" role="status">{ "Loading the list of files …" }</p> },
        Tree::Failed(failure) => {
            html! { <Notice title="The source could not be listed" text={failure.to_string()} fault=true /> }
        }
        Tree::Here { about, manifest } => {
            let base = format!("{API}/jobs/{}/snapshot", props.job.id);
            let shown = if *all { manifest.files.len() } else { manifest.files.len().min(FILES) };
            let hidden = manifest.files.len() - shown;
            html! {
                <>
                    <p class="source-head">
                        <span>{ format!("{}, {}", format::counted(about.files, "file", "files"), format::bytes(about.size_bytes)) }</span>
                        <a class="button" href={format!("{base}/archive")} download="true"><Picture icon={Icon::Download} />{ "Download all" }</a>
                    </p>
                    <ul class="files" data-testid="files">{ for manifest.files[..shown].iter().map(|file| entry(&base, file)) }</ul>
                    if hidden > 0 {
                        <button class="button" onclick={show_all}>{ format!("Show {} more", format::count(hidden as u64)) }</button>
                    }
                </>
            }
        }
    }
}

fn entry(base: &str, file: &File) -> Html {
    let path: Vec<_> = file.path.split('/').map(encode_segment).collect();
    let mode = match file.mode {
        Mode::File => "",
        Mode::Executable => "executable",
        Mode::Link => "link",
    };
    html! {
        <li key={file.path.clone()}>
            <Picture icon={Icon::File} />
            <a class="mono ellipsis" href={format!("{base}/file/{}", path.join("/"))} title={file.path.clone()}>{ &file.path }</a>
            <span class="faint">{ mode }</span>
            <span class="number faint">{ format::bytes(file.size_bytes) }</span>
        </li>
    }
}

async fn load(api: &Api, id: &str) -> Result<Tree, Failure> {
    let about = api.read(&format!("/jobs/{id}/snapshot")).await?;
    let manifest = api.read(&format!("/jobs/{id}/snapshot/tree")).await?;
    Ok(Tree::Here { about, manifest: Rc::new(manifest) })
}
