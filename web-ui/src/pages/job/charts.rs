//! The charts of a job: those it defined, one per numeric channel, and the system's in a part of their own.

mod panel;

use std::rc::Rc;

use neptune_wire::chart::Line;
use neptune_wire::{Channel, ChannelKind, ChannelOrigin, Chart, Job};
use wasm_bindgen::JsCast;
use web_sys::HtmlInputElement;
use yew::prelude::*;

use super::Channels;
use crate::components::icon::{Icon, Picture};
use crate::components::notice::Notice;
use crate::route::Place;
use panel::Panel;

/// The key of the channel filter in the address.
const FILTER: &str = "q";

#[derive(Properties, PartialEq)]
pub(super) struct Props {
    pub(super) place: Place,
    pub(super) job: Rc<Job>,
    pub(super) channels: Channels,
    pub(super) charts: Rc<Vec<Chart>>,
}

/// One series of a chart.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct SeriesSpec {
    /// In the legend.
    pub(super) label: String,
    /// The channel; absent while the job has not created it.
    pub(super) channel: Option<Channel>,
    /// Points without a line.
    pub(super) dots: bool,
}

#[component]
pub(super) fn Charts(props: &Props) -> Html {
    let words: Vec<String> = props
        .place
        .query
        .find(FILTER)
        .unwrap_or_default()
        .split_whitespace()
        .map(str::to_lowercase)
        .collect();
    let matches = |name: &str| {
        let name = name.to_lowercase();
        words.iter().all(|word| name.contains(word.as_str()))
    };
    let numeric = || props.channels.values().filter(|channel| channel.kind == ChannelKind::Numeric);
    let of = |origin: ChannelOrigin| {
        numeric().filter(move |channel| channel.origin == origin && matches(channel.name.as_str()))
    };
    let defined: Vec<&Chart> = props
        .charts
        .iter()
        .filter(|chart| {
            matches(chart.name.as_str()) || chart.series.iter().any(|series| matches(series.channel.as_str()))
        })
        .collect();
    let user: Vec<&Channel> = of(ChannelOrigin::User).collect();
    let system: Vec<&Channel> = of(ChannelOrigin::System).collect();
    if numeric().next().is_none() && props.charts.is_empty() {
        return nothing(&props.job);
    }
    let none_match = defined.is_empty() && user.is_empty() && system.is_empty();
    html! {
        <div class="charts">
            { filter(props) }
            if none_match {
                <Notice title="No chart matches" text="No channel and no chart has all these words in its name." />
            }
            { section("Charts", defined.len(), defined.iter().map(|chart| defined_panel(props, chart))) }
            { section("Channels", user.len(), user.iter().map(|channel| channel_panel(props, channel))) }
            { section("System", system.len(), system.iter().map(|channel| channel_panel(props, channel))) }
        </div>
    }
}

fn nothing(job: &Job) -> Html {
    let text = if job.state.is_ended() {
        "The job ended without sending a number."
    } else {
        "A chart appears here when the job sends its first number, and grows while it runs."
    };
    html! { <Notice title="No charts" {text} /> }
}

fn filter(props: &Props) -> Html {
    let place = props.place.clone();
    let oninput = Callback::from(move |event: InputEvent| {
        if let Some(field) = event.target().and_then(|target| target.dyn_into::<HtmlInputElement>().ok()) {
            place.rewrite(&(*place.query).clone().set(FILTER, field.value()));
        }
    });
    html! {
        <div class="charts-bar">
            <label class="search">
                <Picture icon={Icon::Search} />
                <span class="visually-hidden">{ "Filter charts by name" }</span>
                <input
                    type="search"
                    placeholder="Filter charts"
                    value={props.place.query.find(FILTER).unwrap_or_default().to_owned()}
                    data-search="true"
                    autocomplete="off"
                    spellcheck="false"
                    {oninput}
                />
                <kbd>{ "/" }</kbd>
            </label>
            <span class="faint hint">{ "Drag in a chart to zoom, double-click to see all." }</span>
        </div>
    }
}

fn section(title: &'static str, count: usize, panels: impl Iterator<Item = Html>) -> Html {
    if count == 0 {
        return Html::default();
    }
    html! {
        <section key={title} class="chart-section" aria-label={title}>
            <h2>{ title }<span class="section-count">{ count }</span></h2>
            <div class="chart-grid">{ for panels }</div>
        </section>
    }
}

fn defined_panel(props: &Props, chart: &Chart) -> Html {
    let series = chart.series.iter().map(|series| SeriesSpec {
        label: series.name.clone(),
        channel: props
            .channels
            .get(&series.channel)
            .filter(|channel| channel.kind == ChannelKind::Numeric)
            .cloned(),
        dots: series.line == Line::Dot,
    });
    panel(props, chart.name.as_str(), format!("job-chart-{}", chart.name), series.collect())
}

fn channel_panel(props: &Props, channel: &Channel) -> Html {
    let series = SeriesSpec { label: channel.name.to_string(), channel: Some(channel.clone()), dots: false };
    panel(props, channel.name.as_str(), format!("chart-{}", channel.name), vec![series])
}

fn panel(props: &Props, title: &str, testid: String, series: Vec<SeriesSpec>) -> Html {
    html! {
        <Panel
            key={testid.as_str()}
            place={props.place.clone()}
            job={props.job.id.clone()}
            title={title.to_owned()}
            testid={testid.clone()}
            series={Rc::new(series)}
        />
    }
}
