//! Search, filters and what is chosen, above the jobs list.

use std::rc::Rc;

use neptune_wire::project::Project;
use neptune_wire::{JobState, ProjectKey, Tag};
use wasm_bindgen::JsCast;
use web_sys::{HtmlElement, HtmlInputElement};
use yew::prelude::*;

use super::project_label;
use crate::components::icon::{Icon, Picture};
use crate::components::menu::Menu;
use crate::components::state_badge::icon_of;
use crate::state::filter::JobFilter;

/// What is chosen and what can be.
#[derive(Properties, PartialEq)]
pub(super) struct Props {
    /// What is chosen.
    pub(super) filter: JobFilter,
    /// What stands in the search field.
    pub(super) typed: AttrValue,
    /// All projects.
    pub(super) projects: Vec<Project>,
    /// Tags of the loaded jobs.
    pub(super) tags: Rc<[Tag]>,
    /// How many jobs match.
    pub(super) count: AttrValue,
    /// The search field changed.
    pub(super) on_typed: Callback<String>,
    /// Another choice.
    pub(super) on_filter: Callback<JobFilter>,
}

/// Draws the toolbar.
#[component]
pub(super) fn Toolbar(props: &Props) -> Html {
    let oninput = props.on_typed.reform(|event: InputEvent| {
        let field = event.target().and_then(|target| target.dyn_into::<HtmlInputElement>().ok());
        field.map(|field| field.value()).unwrap_or_default()
    });
    let onkeydown = Callback::from(|event: KeyboardEvent| {
        if event.key() == "Escape"
            && let Some(field) = event.target().and_then(|target| target.dyn_into::<HtmlElement>().ok())
        {
            let _ = field.blur();
        }
    });
    html! {
        <div class="toolbar">
            <h1>{ "Jobs" }<span class="toolbar-count">{ props.count.clone() }</span></h1>
            <label class="search">
                <Picture icon={Icon::Search} />
                <span class="visually-hidden">{ "Search jobs" }</span>
                <input
                    type="search"
                    placeholder="Search id, name, tag, host, parameter"
                    value={props.typed.clone()}
                    data-search="true"
                    data-testid="search"
                    autocomplete="off"
                    spellcheck="false"
                    {oninput}
                    {onkeydown}
                />
                <kbd>{ "/" }</kbd>
            </label>
            { states(props) }
            { tags(props) }
            { projects(props) }
            { chips(props) }
        </div>
    }
}

fn states(props: &Props) -> Html {
    let choice = |state: JobState| {
        let filter = props.filter.clone().toggle_state(state);
        let onchange = props.on_filter.reform(move |_: Event| filter.clone());
        let checked = props.filter.states.contains(&state);
        html! {
            <label class="choice">
                <input type="checkbox" {checked} {onchange} />
                <span class={classes!("state", format!("state-{state}"))}><Picture icon={icon_of(state)} />{ state.as_str() }</span>
            </label>
        }
    };
    html! {
        <Menu label="State" chosen={props.filter.states.len()} testid="filter-states">{ for JobState::ALL.into_iter().map(choice) }</Menu>
    }
}

fn tags(props: &Props) -> Html {
    let choice = |tag: &Tag| {
        let filter = props.filter.clone().toggle_tag(tag);
        let onchange = props.on_filter.reform(move |_: Event| filter.clone());
        let checked = props.filter.tags.contains(tag);
        html! {
            <label class="choice">
                <input type="checkbox" {checked} {onchange} />
                <span class="tag">{ tag.as_str() }</span>
            </label>
        }
    };
    html! {
        <Menu label="Tags" chosen={props.filter.tags.len()} testid="filter-tags">
            if props.tags.is_empty() {
                <p class="menu-empty">{ "No job here has a tag." }</p>
            }
            { for props.tags.iter().map(choice) }
        </Menu>
    }
}

fn projects(props: &Props) -> Html {
    let choice = |key: Option<ProjectKey>, label: String| {
        let filter = JobFilter { project: key.clone(), ..props.filter.clone() };
        let onchange = props.on_filter.reform(move |_: Event| filter.clone());
        let checked = props.filter.project == key;
        html! {
            <label class="choice" title={label.clone()}>
                <input type="radio" name="project" {checked} {onchange} />
                <span class="ellipsis">{ label }</span>
            </label>
        }
    };
    let each = props
        .projects
        .iter()
        .map(|project| choice(Some(project.key.clone()), project_label(&project.key, &props.projects)));
    html! {
        <Menu label="Project" chosen={usize::from(props.filter.project.is_some())} testid="filter-project">
            { choice(None, "All projects".into()) }
            { for each }
        </Menu>
    }
}

/// What is chosen, each with a way to undo it.
fn chips(props: &Props) -> Html {
    let chip = |text: String, without: JobFilter| {
        let onclick = props.on_filter.reform(move |_: MouseEvent| without.clone());
        html! {
            <button class="chip" title={format!("remove the filter {text}")} {onclick}>{ text }<span aria-hidden="true">{ "×" }</span></button>
        }
    };
    let filter = &props.filter;
    let project = filter
        .project
        .iter()
        .map(|key| chip(project_label(key, &props.projects), JobFilter { project: None, ..filter.clone() }));
    let states =
        filter.states.iter().map(|state| chip(state.to_string(), filter.clone().toggle_state(*state)));
    let tags = filter.tags.iter().map(|tag| chip(tag.to_string(), filter.clone().toggle_tag(tag)));
    html! { <div class="chips">{ for project.chain(states).chain(tags) }</div> }
}
