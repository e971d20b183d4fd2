//! One chart: it subscribes while it is on the screen, asks for envelopes as wide as it is, and draws a few times a
//! second at most while points stream in.

mod fetch;
mod tracks;

use std::rc::Rc;

use gloo_timers::callback::Timeout;
use neptune_wire::live::{LiveDown, Topic};
use neptune_wire::{ChannelName, ChannelSummary, JobId, JobRef};
use wasm_bindgen::JsCast;
use wasm_bindgen::closure::Closure;
use web_sys::{
    Element, HtmlElement, IntersectionObserver, IntersectionObserverEntry, IntersectionObserverInit,
};
use yew::prelude::*;

use super::SeriesSpec;
use crate::chart::draw::{self, Seen};
use crate::chart::palette;
use crate::chart::scale::Range;
use crate::components::icon::{Icon, Picture};
use crate::components::plot::{Look, Plot};
use crate::net::api::{Api, Failure};
use crate::net::live::{Live, LiveEvent, Subscription};
use crate::route::Place;
use crate::state::{format, zoom};
use fetch::{Answer, Wanted};
use tracks::Tracks;

/// Between two drawings while points stream in.
const FRAME_MILLIS: u32 = 100;
/// A chart begins to load when it is this close to the screen.
const NEAR: &str = "300px";

#[derive(Properties, PartialEq)]
pub(super) struct Props {
    pub(super) place: Place,
    pub(super) job: JobId,
    pub(super) title: AttrValue,
    pub(super) testid: AttrValue,
    pub(super) series: Rc<Vec<SeriesSpec>>,
}

pub(super) enum Msg {
    /// On the screen or near it, or no longer.
    Near(bool),
    Live(LiveEvent),
    Answered(Answer),
    Frame,
    Zoomed(Range),
    Reset,
    Widen,
    Retry,
}

pub(super) struct Panel {
    api: Api,
    live: Live,
    tracks: Tracks,
    zoom: Option<Range>,
    near: bool,
    wide: bool,
    fault: Option<Failure>,
    /// The server has said something of these channels.
    heard: bool,
    /// The channels of the subscription, in its order.
    subscribed: Vec<ChannelName>,
    subscription: Option<Subscription>,
    frame: Option<Timeout>,
    /// Something changed since the last drawing.
    dirty: bool,
    plot: Option<Plot>,
    looks: Vec<Look>,
    root: NodeRef,
    canvas: NodeRef,
    watch: Option<Watch>,
}

/// Tells when the chart comes near the screen.
struct Watch {
    observer: IntersectionObserver,
    _callback: Closure<dyn Fn(js_sys::Array)>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.observer.disconnect();
    }
}

impl Component for Panel {
    type Message = Msg;
    type Properties = Props;

    fn create(ctx: &Context<Self>) -> Self {
        let link = ctx.link();
        let (api, _) =
            link.context::<Api>(Callback::noop()).expect("the root provides the way to the server");
        let (live, _) =
            link.context::<Live>(Callback::noop()).expect("the root provides the live connection");
        let mut panel = Self {
            api,
            live,
            tracks: Tracks::default(),
            zoom: zoom::find(&ctx.props().place.query, &ctx.props().title),
            near: false,
            wide: false,
            fault: None,
            heard: false,
            subscribed: Vec::new(),
            subscription: None,
            frame: None,
            dirty: true,
            plot: None,
            looks: looks(&ctx.props().series),
            root: NodeRef::default(),
            canvas: NodeRef::default(),
            watch: None,
        };
        panel.tracks.follow(&names(&ctx.props().series));
        panel
    }

    fn changed(&mut self, ctx: &Context<Self>, _: &Props) -> bool {
        let looks = looks(&ctx.props().series);
        if looks != self.looks {
            self.looks = looks;
            self.plot = None;
        }
        if self.tracks.follow(&names(&ctx.props().series)) {
            self.dirty = true;
            self.subscribe(ctx);
        }
        let zoom = zoom::find(&ctx.props().place.query, &ctx.props().title);
        if zoom != self.zoom {
            self.zoom = zoom;
            self.look_closer(ctx);
        }
        true
    }

    fn update(&mut self, ctx: &Context<Self>, msg: Msg) -> bool {
        match msg {
            Msg::Near(near) => {
                if near == self.near {
                    return false;
                }
                self.near = near;
                self.subscribe(ctx);
            }
            Msg::Live(event) => return self.heard(ctx, event),
            Msg::Answered(answer) => self.answered(ctx, answer),
            Msg::Frame => {
                self.frame = None;
                self.dirty = true;
            }
            Msg::Zoomed(range) => {
                let query = zoom::set(&ctx.props().place.query, &ctx.props().title, Some(range));
                ctx.props().place.rewrite(&query);
                return false;
            }
            Msg::Reset => {
                let query = zoom::set(&ctx.props().place.query, &ctx.props().title, None);
                ctx.props().place.rewrite(&query);
                return false;
            }
            Msg::Widen => self.wide = !self.wide,
            Msg::Retry => {
                self.fault = None;
                let wanted = self.tracks.retry();
                self.ask(ctx, wanted);
            }
        }
        true
    }

    fn view(&self, ctx: &Context<Self>) -> Html {
        let Props { title, testid, .. } = ctx.props();
        let widen = ctx.link().callback(|_: MouseEvent| Msg::Widen);
        let (icon, label) = if self.wide { (Icon::Narrow, "smaller") } else { (Icon::Widen, "larger") };
        html! {
            <figure
                ref={self.root.clone()}
                class={classes!("chart", self.wide.then_some("chart-wide"))}
                data-testid={testid.clone()}
                data-points={self.tracks.known().to_string()}
                aria-label={self.description(ctx)}
            >
                <figcaption class="chart-head">
                    <h3 class="ellipsis" title={title.clone()}>{ title.clone() }</h3>
                    { self.odd() }
                    if self.zoom.is_some() {
                        <button class="button button-small" onclick={ctx.link().callback(|_: MouseEvent| Msg::Reset)}>{ "Show all" }</button>
                    }
                    <button class="button button-quiet button-icon" onclick={widen} title={label} aria-label={format!("make the chart {label}")}>
                        <Picture {icon} />
                    </button>
                </figcaption>
                <div class="chart-body">
                    <div ref={self.canvas.clone()} class="chart-canvas" />
                    { self.overlay(ctx) }
                </div>
                { self.legend(ctx) }
                <p class="chart-foot">{ self.caption(ctx) }</p>
            </figure>
        }
    }

    fn rendered(&mut self, ctx: &Context<Self>, first: bool) {
        if first {
            self.watch = watch(ctx, &self.root);
        }
        if !self.near {
            return;
        }
        if self.plot.is_none()
            && let Some(canvas) = self.canvas.cast::<HtmlElement>()
        {
            let (zoomed, reset) = (ctx.link().clone(), ctx.link().clone());
            let zoomed = move |min, max| zoomed.send_message(Msg::Zoomed(Range { min, max }));
            self.plot = Some(Plot::new(&canvas, &self.looks, zoomed, move || reset.send_message(Msg::Reset)));
            self.dirty = true;
        }
        if let Some(plot) = self.plot.as_ref().filter(|_| self.dirty) {
            plot.draw(&draw::draw(&self.tracks.shown(), self.zoom));
            self.dirty = false;
        }
    }
}

// What happens.
impl Panel {
    /// Subscribes to the channels that exist while the chart is near the screen.
    fn subscribe(&mut self, ctx: &Context<Self>) {
        self.subscription = None;
        self.subscribed = self.tracks.channels();
        if !self.near || self.subscribed.is_empty() {
            return;
        }
        let job = JobRef::Id(ctx.props().job.clone());
        let topic = Topic::Channels { job, channels: self.subscribed.clone() };
        self.subscription = Some(self.live.subscribe(topic, ctx.link().callback(Msg::Live)));
        if self.zoom.is_some() && !self.tracks.is_zoomed() {
            self.look_closer(ctx);
        }
    }

    fn heard(&mut self, ctx: &Context<Self>, event: LiveEvent) -> bool {
        let buckets = self.buckets();
        match event {
            LiveEvent::Subscribed(marks) => {
                (self.fault, self.heard) = (None, true);
                let marks = self.subscribed.iter().zip(marks);
                let wanted =
                    marks.flat_map(|(channel, mark)| self.tracks.subscribed(channel, mark)).collect();
                self.ask(ctx, wanted);
                true
            }
            LiveEvent::Lost if !self.heard && !self.tracks.is_awaiting() => {
                let wanted = self.tracks.retry();
                self.ask(ctx, wanted);
                true
            }
            LiveEvent::Points(name, points) => {
                let wanted = self.tracks.arrived(&name, &points, buckets);
                self.ask(ctx, wanted);
                self.draw_soon(ctx);
                false
            }
            LiveEvent::Down(message) => match *message {
                LiveDown::Reread { channel: Some(channel), from, .. } => {
                    let wanted = self.tracks.reread(&channel, from);
                    self.ask(ctx, wanted);
                    false
                }
                LiveDown::Problem { problem, .. } => {
                    self.fault = Some(Failure::Refused(problem));
                    true
                }
                _ => false,
            },
            LiveEvent::Lost => false,
        }
    }

    fn answered(&mut self, ctx: &Context<Self>, answer: Answer) {
        match self.tracks.answered(answer, self.buckets()) {
            Ok(wanted) => {
                (self.fault, self.heard) = (None, true);
                self.ask(ctx, wanted);
            }
            Err(failure) => self.fault = Some(failure),
        }
        self.dirty = true;
    }

    fn look_closer(&mut self, ctx: &Context<Self>) {
        self.dirty = true;
        let wanted = self.tracks.zoom(self.zoom);
        if self.near {
            self.ask(ctx, wanted);
        }
    }

    fn ask(&self, ctx: &Context<Self>, wanted: Vec<Wanted>) {
        for question in fetch::together(&ctx.props().job, wanted, self.buckets()) {
            let api = self.api.clone();
            ctx.link().send_future(async move { Msg::Answered(question.ask(&api).await) });
        }
    }

    /// Draws at once when nothing was drawn for a while, else at the end of the pause.
    fn draw_soon(&mut self, ctx: &Context<Self>) {
        if self.frame.is_none() {
            let link = ctx.link().clone();
            self.frame = Some(Timeout::new(FRAME_MILLIS, move || link.send_message(Msg::Frame)));
        }
    }

    fn buckets(&self) -> usize {
        self.plot.as_ref().map_or(600, Plot::width).clamp(100, 4_000)
    }
}

// What is drawn around the plot.
impl Panel {
    fn overlay(&self, ctx: &Context<Self>) -> Html {
        if let Some(fault) = &self.fault {
            let onclick = ctx.link().callback(|_: MouseEvent| Msg::Retry);
            return html! {
                <div class="chart-over" role="alert">
                    <span>{ format!("Not loaded: {fault}.") }</span>
                    <button class="button button-small" {onclick}>{ "Try again" }</button>
                </div>
            };
        }
        if self.tracks.is_loading() || (!self.near && self.tracks.known() == 0) {
            let now = self.near.then_some("chart-loading-now");
            return html! { <div class={classes!("chart-over", "chart-loading", now)} role="img" aria-label="loading" /> };
        }
        let empty = self.tracks.shown().iter().all(|span| span.buckets().is_empty());
        match (empty, self.zoom) {
            (true, Some(_)) => {
                html! { <div class="chart-over"><span class="faint">{ "No points in this range" }</span></div> }
            }
            (true, None) => {
                html! { <div class="chart-over"><span class="faint">{ "No points yet" }</span></div> }
            }
            _ => Html::default(),
        }
    }

    fn legend(&self, ctx: &Context<Self>) -> Html {
        let series = &ctx.props().series;
        if series.len() < 2 {
            return Html::default();
        }
        let one = |(spec, look): (&SeriesSpec, &Look)| {
            let last = spec.channel.as_ref().and_then(|channel| channel.summary.last);
            html! {
                <li title={spec.channel.as_ref().map(|channel| channel.name.to_string())}>
                    <span class={classes!("swatch", format!("series-{}", look.colour))} />
                    <span class="ellipsis">{ &spec.label }</span>
                    <span class="number faint">{ last.map_or_else(|| "–".into(), |last| format::number(last.0)) }</span>
                </li>
            }
        };
        html! { <ul class="legend">{ for series.iter().zip(&self.looks).map(one) }</ul> }
    }

    /// Values that the lines cannot show, counted.
    fn odd(&self) -> Html {
        let seen = Seen::of(self.tracks.shown());
        let odd = [
            (seen.nan, "NaN", "values that are no number, marked at the lower edge"),
            (seen.infinite, "∞", "places with an infinite value, marked by triangles at the edges"),
            (seen.off_axis, "at x = ∞", "points that have no place on the axis"),
            (self.tracks.without_x(), "at x = NaN", "points that have no place on the axis"),
        ];
        let odd = odd.into_iter().filter(|(count, ..)| *count > 0);
        let one = |(count, what, title): (u64, &'static str, &'static str)| {
            html! { <span class="odd" {title}>{ format!("{} {what}", format::count(count)) }</span> }
        };
        html! { <>{ for odd.map(one) }</> }
    }

    /// What is seen, in numbers.
    fn caption(&self, ctx: &Context<Self>) -> Html {
        let seen = Seen::of(self.tracks.shown());
        let points = format::counted(seen.points, "point", "points");
        let in_view = if self.zoom.is_some() { " in view" } else { "" };
        let summary = match ctx.props().series.as_slice() {
            [SeriesSpec { channel: Some(channel), .. }] => summary(&channel.summary),
            _ => Html::default(),
        };
        html! { <>{ summary }<span class="chart-counts">{ points }{ in_view }</span></> }
    }

    fn description(&self, ctx: &Context<Self>) -> String {
        let values = ctx.props().series.iter().map(|spec| {
            match spec.channel.as_ref().and_then(|channel| channel.summary.last) {
                Some(last) => format!("{} is {}", spec.label, format::number(last.0)),
                None => format!("{} has no value", spec.label),
            }
        });
        format!("Chart {}: {}", ctx.props().title, values.collect::<Vec<_>>().join(", "))
    }
}

fn summary(summary: &ChannelSummary) -> Html {
    let values = [("last", summary.last), ("min", summary.min), ("max", summary.max), ("mean", summary.mean)];
    let values = values.into_iter().filter_map(|(name, value)| Some((name, format::number(value?.0))));
    let title = values.clone().map(|(name, value)| format!("{name} {value}")).collect::<Vec<_>>().join("  ");
    let one = |(name, value)| {
        html! { <span class="chart-value"><span class="faint">{ name }</span><span class="number">{ value }</span></span> }
    };
    html! { <span class="chart-values" {title}>{ for values.map(one) }</span> }
}

fn looks(series: &[SeriesSpec]) -> Vec<Look> {
    let names = series
        .iter()
        .map(|spec| spec.channel.as_ref().map_or(spec.label.as_str(), |channel| channel.name.as_str()));
    let colours = palette::colours(names);
    let look =
        |(spec, colour): (&SeriesSpec, usize)| Look { label: spec.label.clone(), colour, dots: spec.dots };
    series.iter().zip(colours).map(look).collect()
}

fn names(series: &[SeriesSpec]) -> Vec<Option<ChannelName>> {
    series.iter().map(|spec| spec.channel.as_ref().map(|channel| channel.name.clone())).collect()
}

fn watch(ctx: &Context<Panel>, root: &NodeRef) -> Option<Watch> {
    let element = root.cast::<Element>()?;
    let link = ctx.link().clone();
    let callback = Closure::<dyn Fn(js_sys::Array)>::new(move |entries: js_sys::Array| {
        if let Some(entry) = entries.iter().last() {
            let near = entry.unchecked_into::<IntersectionObserverEntry>().is_intersecting();
            link.send_message(Msg::Near(near));
        }
    });
    let options = IntersectionObserverInit::new();
    options.set_root_margin(NEAR);
    if let Ok(Some(scroller)) = element.closest("main") {
        options.set_root(Some(&scroller));
    }
    let observer =
        IntersectionObserver::new_with_options(callback.as_ref().unchecked_ref(), &options).ok()?;
    observer.observe(&element);
    Some(Watch { observer, _callback: callback })
}
