//! The text channels of a job, one at a time: only the lines in view are in the document and in memory near it.
//!
//! Which channel, which line and which search are in the address. Following means that the view stays at the end while
//! lines arrive; scrolling up stops it, scrolling to the end or the button resumes it.

mod toolbar;

use std::rc::Rc;

use gloo_events::EventListener;
use gloo_timers::callback::Timeout;
use neptune_wire::live::{LiveDown, Topic};
use neptune_wire::query::{Line, Lines};
use neptune_wire::{Channel, ChannelKind, ChannelName, ChannelOrigin, Job, JobRef};
use web_sys::Element;
use yew::prelude::*;

use super::Channels;
use crate::components::log_row::{self, LogRow};
use crate::components::notice::Notice;
use crate::components::placed::Placed;
use crate::net::api::{Api, Failure};
use crate::net::live::{Live, LiveEvent, Subscription};
use crate::route::Place;
use crate::state::address::{Query, encode_segment};
use crate::state::lines::{Ask, LineStore};
use crate::state::window::{self, View, Window};
use toolbar::Toolbar;

/// Height of a line; `css/logs.css` says the same.
const LINE_PX: f64 = 20.0;
/// Matches per page of a search.
const MATCHES: u32 = 1_000;
/// Writing pauses for so long before the search is asked.
const SEARCH_PAUSE_MILLIS: u32 = 250;

#[derive(Properties, PartialEq)]
pub(super) struct Props {
    pub(super) place: Place,
    pub(super) job: Rc<Job>,
    pub(super) channels: Channels,
}

pub(super) enum Msg {
    Live(LiveEvent),
    Answered(u64, Ask, Result<Lines, Failure>),
    Found(u64, Result<Lines, Failure>),
    Measure,
    Follow(bool),
    Pick(ChannelName),
    Typed(String),
    Search,
    Jump(u64),
    Retry,
}

/// The logs of a job.
pub(super) struct Logs {
    api: Api,
    live: Live,
    channel: Option<ChannelName>,
    /// Grows with each channel and each search: older answers are passed over.
    era: u64,
    store: LineStore,
    matches: Option<Matches>,
    typed: String,
    typing: Option<Timeout>,
    follow: bool,
    /// The line that was jumped to.
    marked: Option<u64>,
    /// Scroll there when it can be.
    jump: Option<u64>,
    /// Nothing is known of the channel yet.
    fresh: bool,
    fault: Option<Failure>,
    view: View,
    scroller: NodeRef,
    subscription: Option<Subscription>,
    _resized: Option<EventListener>,
}

/// What a search found.
#[derive(Debug, Default)]
struct Matches {
    search: String,
    lines: Vec<Line>,
    next: Option<u64>,
    awaited: bool,
}

impl Component for Logs {
    type Message = Msg;
    type Properties = Props;

    fn create(ctx: &Context<Self>) -> Self {
        let link = ctx.link();
        let (api, _) =
            link.context::<Api>(Callback::noop()).expect("the root provides the way to the server");
        let (live, _) =
            link.context::<Live>(Callback::noop()).expect("the root provides the live connection");
        let measure = link.callback(|_: ()| Msg::Measure);
        let resized =
            web_sys::window().map(|window| EventListener::new(&window, "resize", move |_| measure.emit(())));
        let mut logs = Self {
            api,
            live,
            channel: None,
            era: 0,
            store: LineStore::default(),
            matches: None,
            typed: String::new(),
            typing: None,
            follow: true,
            marked: None,
            jump: None,
            fresh: true,
            fault: None,
            view: View { scrolled_px: 0.0, height_px: 600.0 },
            scroller: NodeRef::default(),
            subscription: None,
            _resized: resized,
        };
        logs.obey_address(ctx);
        logs
    }

    fn changed(&mut self, ctx: &Context<Self>, _: &Props) -> bool {
        self.obey_address(ctx);
        true
    }

    fn update(&mut self, ctx: &Context<Self>, msg: Msg) -> bool {
        match msg {
            Msg::Live(event) => return self.heard(ctx, event),
            Msg::Answered(era, ask, answer) if era == self.era => self.answered(ctx, ask, answer),
            Msg::Found(era, answer) if era == self.era => self.found(answer),
            Msg::Answered(..) | Msg::Found(..) => return false,
            Msg::Measure => self.measure(ctx),
            Msg::Follow(follow) => {
                self.follow = follow;
                if follow {
                    self.marked = None;
                }
            }
            Msg::Pick(channel) => {
                ctx.props().place.rewrite(&Query::default().set("channel", channel));
                return false;
            }
            Msg::Typed(text) => {
                self.typed = text;
                let link = ctx.link().clone();
                self.typing = Some(Timeout::new(SEARCH_PAUSE_MILLIS, move || link.send_message(Msg::Search)));
            }
            Msg::Search => {
                let query = (*ctx.props().place.query).clone().set("search", &self.typed).set("line", "");
                ctx.props().place.rewrite(&query);
                return false;
            }
            Msg::Jump(line) => {
                let query = (*ctx.props().place.query).clone().set("search", "").set("line", line + 1);
                ctx.props().place.rewrite(&query);
                return false;
            }
            Msg::Retry => {
                self.fault = None;
                self.ask_in_view(ctx);
            }
        }
        true
    }

    fn view(&self, ctx: &Context<Self>) -> Html {
        let Some(channel) = self.channel.as_ref().and_then(|name| ctx.props().channels.get(name)) else {
            return nothing(&ctx.props().job);
        };
        let link = ctx.link();
        html! {
            <div class="logs">
                <Toolbar
                    job={ctx.props().job.id.clone()}
                    texts={text_channels(&ctx.props().channels)}
                    channel={channel.clone()}
                    typed={self.typed.clone()}
                    total={self.store.total()}
                    found={self.matches.as_ref().map(|matches| (matches.lines.len(), matches.next.is_some()))}
                    follow={self.follow && self.matches.is_none()}
                    fault={self.fault.as_ref().map(|fault| AttrValue::from(fault.to_string()))}
                    on_pick={link.callback(Msg::Pick)}
                    on_typed={link.callback(Msg::Typed)}
                    on_follow={link.callback(Msg::Follow)}
                    on_retry={link.callback(|()| Msg::Retry)}
                />
                <div
                    ref={self.scroller.clone()}
                    class="log-scroll"
                    tabindex="0"
                    role="log"
                    aria-live="off"
                    aria-label={format!("lines of {}", channel.name)}
                    onscroll={link.callback(|_: Event| Msg::Measure)}
                    data-testid="log-lines"
                    data-lines={self.store.total().to_string()}
                >
                    {
                        match &self.matches {
                            Some(matches) => self.found_rows(ctx, channel, matches),
                            None => self.rows(channel),
                        }
                    }
                </div>
            </div>
        }
    }

    fn rendered(&mut self, ctx: &Context<Self>, first: bool) {
        let Some(scroller) = self.scroller.cast::<Element>() else { return };
        if first || self.view.height_px != f64::from(scroller.client_height()) {
            ctx.link().send_message(Msg::Measure);
        }
        if self.matches.is_some() {
            return;
        }
        if let Some(line) = self.jump.filter(|line| *line < self.store.total()) {
            self.jump = None;
            let to = window::scroll_to_row(line, self.view.height_px, self.store.total(), LINE_PX);
            scroller.set_scroll_top(to as i32);
        } else if self.follow && self.jump.is_none() {
            scroller.set_scroll_top(scroller.scroll_height());
        }
    }
}

impl Logs {
    /// Takes channel, line and search from the address, and begins anew where they differ.
    fn obey_address(&mut self, ctx: &Context<Self>) {
        let Props { place, channels, .. } = ctx.props();
        let asked = place.query.find("channel").and_then(|name| ChannelName::new(name).ok());
        let exists =
            |name: &ChannelName| channels.get(name).is_some_and(|channel| channel.kind == ChannelKind::Text);
        let first = text_channels(channels).first().map(|channel| channel.name.clone());
        let channel = asked.filter(exists).or(first);
        let another = channel != self.channel;
        if another {
            self.channel = channel;
            (self.store, self.fresh, self.fault) = (LineStore::default(), true, None);
            (self.follow, self.marked, self.jump) = (true, None, None);
            self.era += 1;
            self.subscribe(ctx);
        }
        let line = place
            .query
            .find("line")
            .and_then(|line| line.parse::<u64>().ok())
            .and_then(|line| line.checked_sub(1));
        if line.is_some() && line != self.marked {
            (self.marked, self.jump, self.follow) = (line, line, false);
        }
        let search = place.query.find("search").unwrap_or_default();
        if another || search != self.matches.as_ref().map_or("", |matches| &matches.search) {
            self.era += u64::from(!another);
            if self.typing.take().is_none() || another {
                self.typed = search.into();
            }
            self.matches = None;
            if !search.is_empty() {
                self.matches = Some(Matches { search: search.into(), next: Some(0), ..Matches::default() });
                self.ask_matches(ctx);
            }
        }
    }

    fn subscribe(&mut self, ctx: &Context<Self>) {
        self.subscription = None;
        let Some(channel) = self.channel.clone() else { return };
        let job = JobRef::Id(ctx.props().job.id.clone());
        let topic = Topic::Channels { job, channels: vec![channel] };
        self.subscription = Some(self.live.subscribe(topic, ctx.link().callback(Msg::Live)));
    }

    fn heard(&mut self, ctx: &Context<Self>, event: LiveEvent) -> bool {
        match event {
            LiveEvent::Subscribed(marks) => {
                self.store.subscribed(marks.first().copied().unwrap_or(0));
                (self.fresh, self.fault) = (false, None);
            }
            LiveEvent::Lost if self.fresh => {
                // The record says how many lines there are; they are asked for by REST.
                let count = self.channel.as_ref().and_then(|name| ctx.props().channels.get(name));
                self.store.subscribed(count.map_or(0, |channel| channel.summary.count));
                self.fresh = false;
            }
            LiveEvent::Down(message) => match *message {
                LiveDown::Lines { lines, .. } => {
                    self.match_live(&lines);
                    self.store.pushed(lines);
                }
                LiveDown::Reread { from, .. } => self.store.reread(from),
                LiveDown::Problem { problem, .. } => self.fault = Some(Failure::Refused(problem)),
                _ => return false,
            },
            _ => return false,
        }
        self.ask_in_view(ctx);
        true
    }

    /// Lines that arrive while a search is shown are judged as the server would.
    fn match_live(&mut self, lines: &[Line]) {
        let Some(matches) = self.matches.as_mut().filter(|matches| matches.next.is_none()) else { return };
        let search = matches.search.to_lowercase();
        for line in lines.iter().filter(|line| line.text.to_lowercase().contains(&search)) {
            match matches.lines.last_mut() {
                Some(last) if last.line == line.line => *last = line.clone(),
                _ => matches.lines.push(line.clone()),
            }
        }
    }

    fn ask_in_view(&mut self, ctx: &Context<Self>) {
        let Some(channel) = self.channel.clone() else { return };
        let window = if self.follow && self.jump.is_none() { self.last_rows() } else { self.window() };
        for ask in self.store.ask(window.first, window.end) {
            let (api, path, era) = (self.api.clone(), path(ctx, &channel), self.era);
            ctx.link().send_future(async move {
                let path = format!("{path}?line={}&limit={}", ask.line, ask.limit);
                Msg::Answered(era, ask, api.read(&path).await)
            });
        }
    }

    fn answered(&mut self, ctx: &Context<Self>, ask: Ask, answer: Result<Lines, Failure>) {
        match answer {
            Ok(lines) => {
                self.fault = None;
                let before = self.store.total();
                self.store.answered(ask, lines);
                if self.store.total() > before {
                    self.ask_in_view(ctx);
                }
            }
            Err(failure) => {
                self.store.unanswered(ask);
                self.fault = Some(failure);
            }
        }
    }

    fn ask_matches(&mut self, ctx: &Context<Self>) {
        let Some(channel) = &self.channel else { return };
        let Some(matches) = self.matches.as_mut().filter(|matches| !matches.awaited) else { return };
        let Some(next) = matches.next else { return };
        matches.awaited = true;
        let query = Query::default().set("line", next).set("limit", MATCHES).set("search", &matches.search);
        let (api, path, era) = (self.api.clone(), path(ctx, channel), self.era);
        ctx.link().send_future(async move { Msg::Found(era, api.read(&format!("{path}?{query}")).await) });
    }

    fn found(&mut self, answer: Result<Lines, Failure>) {
        let Some(matches) = &mut self.matches else { return };
        matches.awaited = false;
        match answer {
            Ok(lines) => {
                matches.lines.extend(lines.lines);
                matches.next = lines.next;
                self.fault = None;
            }
            Err(failure) => self.fault = Some(failure),
        }
    }

    fn measure(&mut self, ctx: &Context<Self>) {
        let Some(scroller) = self.scroller.cast::<Element>() else { return };
        let before = self.view.scrolled_px;
        self.view = View {
            scrolled_px: f64::from(scroller.scroll_top()),
            height_px: f64::from(scroller.client_height()),
        };
        let from_end = f64::from(scroller.scroll_height()) - self.view.scrolled_px - self.view.height_px;
        match &self.matches {
            Some(_) if from_end < 40.0 * LINE_PX => self.ask_matches(ctx),
            Some(_) => {}
            None => {
                // Going up stops following; arriving at the end, by whatever way, resumes it.
                if self.view.scrolled_px < before - 1.0 && from_end > LINE_PX {
                    self.follow = false;
                } else if from_end < LINE_PX / 2.0 && self.jump.is_none() && self.view.scrolled_px > before {
                    self.follow = true;
                }
                self.ask_in_view(ctx);
            }
        }
    }

    fn window(&self) -> Window {
        Window::of(self.view, self.store.total(), LINE_PX, 40)
    }

    fn last_rows(&self) -> Window {
        let end = View { scrolled_px: f64::MAX, ..self.view };
        Window::of(end, self.store.total(), LINE_PX, 40)
    }
}

// Drawing.
impl Logs {
    fn rows(&self, channel: &Channel) -> Html {
        if self.fresh {
            return html! { <p class="log-note" role="status">{ "Loading …" }</p> };
        }
        if self.store.total() == 0 {
            return html! { <p class="log-note" role="status">{ "Nothing was written yet." }</p> };
        }
        let window = if self.follow { self.last_rows() } else { self.window() };
        let with_x = log_row::shows_x(channel.kind, channel.origin.is_log());
        let row = |number: u64| {
            html! {
                <LogRow key={number} {number} line={self.store.find(number).cloned()} {with_x} marked={self.marked == Some(number)} />
            }
        };
        html! {
            <Placed class="log-lines" height_px={window.height_px} offset_px={window.offset_px}>
                { for (window.first..window.end).map(row) }
            </Placed>
        }
    }

    fn found_rows(&self, ctx: &Context<Self>, channel: &Channel, matches: &Matches) -> Html {
        if matches.lines.is_empty() {
            let text = if matches.awaited { "Searching …" } else { "No line contains this text." };
            return html! { <p class="log-note" role="status">{ text }</p> };
        }
        let window = Window::of(self.view, matches.lines.len() as u64, LINE_PX, 40);
        let with_x = log_row::shows_x(channel.kind, channel.origin.is_log());
        let jump = ctx.link().callback(Msg::Jump);
        let row = |line: &Line| {
            html! { <LogRow key={line.line} number={line.line} line={line.clone()} {with_x} on_jump={jump.clone()} /> }
        };
        html! {
            <Placed class="log-lines" height_px={window.height_px} offset_px={window.offset_px}>
                { for matches.lines[window.first as usize..window.end as usize].iter().map(row) }
            </Placed>
        }
    }
}

fn nothing(job: &Job) -> Html {
    let text = if job.state.is_ended() {
        "The job ended without writing a line."
    } else {
        "What the program writes to its standard output appears here, line by line."
    };
    html! { <Notice title="No logs" {text} /> }
}

fn path(ctx: &Context<Logs>, channel: &ChannelName) -> String {
    format!("/jobs/{}/channels/{}/text", ctx.props().job.id, encode_segment(channel.as_str()))
}

/// Standard output, standard error, then the job's own text channels by name.
fn text_channels(channels: &Channels) -> Vec<Channel> {
    let mut texts: Vec<_> =
        channels.values().filter(|channel| channel.kind == ChannelKind::Text).cloned().collect();
    texts.sort_by_key(|channel| match channel.origin {
        ChannelOrigin::Stdout => 0,
        ChannelOrigin::Stderr => 1,
        ChannelOrigin::User => 2,
        ChannelOrigin::System => 3,
    });
    texts
}
