//! The start page: all jobs that a filter leaves, live.
//!
//! The filter is the address's query. A changed filter asks for a first page; jobs pushed while it is awaited are
//! applied after it. A reconnect asks for the loaded rows again, because nothing tells which jobs changed meanwhile.

mod table;
mod toolbar;

use std::rc::Rc;

use gloo_events::EventListener;
use gloo_timers::callback::Timeout;
use neptune_wire::job::Page;
use neptune_wire::live::{LiveDown, Topic};
use neptune_wire::project::Project;
use neptune_wire::{Job, JobUid, ProjectKey, Tag};
use web_sys::{Element, ScrollIntoViewOptions, ScrollLogicalPosition};
use yew::prelude::*;

use crate::components::keys;
use crate::net::api::{Api, Failure};
use crate::net::live::{Live, LiveEvent, Subscription};
use crate::route::{Place, Tab};
use crate::state::address::Query;
use crate::state::filter::JobFilter;
use crate::state::format;
use crate::state::jobs::JobList;
use crate::state::window::{View, Window};
use toolbar::Toolbar;

/// Rows per page.
const PAGE: usize = 100;
/// Rows asked for at most at once, by the contract.
const LARGEST_PAGE: usize = 1_000;
/// Height of a row and of a card; `css/jobs.css` says the same.
const ROW_PX: f64 = 37.0;
const CARD_PX: f64 = 77.0;
const NARROW: &str = "(max-width: 760px)";
/// Writing pauses for so long before the search is asked.
const SEARCH_PAUSE_MILLIS: u32 = 250;

/// Where the page is.
#[derive(Properties, PartialEq)]
pub struct Props {
    /// The address; its query is the filter.
    pub place: Place,
}

/// What happens.
pub enum Msg {
    /// From the live connection.
    Live(LiveEvent),
    /// The answer to the request of that number; the first page, or the next one.
    Page(u64, bool, Result<Page<Job>, Failure>),
    /// All projects, for the menu.
    Projects(Result<Vec<Project>, Failure>),
    /// The search field changed.
    Typed(String),
    /// The writer paused.
    Search,
    /// Another filter was chosen.
    Choose(JobFilter),
    /// A tag in a row was clicked.
    Tag(Tag),
    /// A key was pressed.
    Key(Key),
    /// A row was clicked.
    Open(Rc<Job>),
    /// The list was scrolled or resized.
    Measure,
    /// Ask again after a fault.
    Retry,
}

/// Keys of this page.
pub enum Key {
    /// To the next row, or the one before.
    Move(i64),
    /// Open the selected job.
    Open,
}

/// The jobs list.
pub struct JobsPage {
    api: Api,
    live: Live,
    filter: JobFilter,
    typed: String,
    typing: Option<Timeout>,
    list: JobList,
    /// Nothing was answered for this filter yet.
    fresh: bool,
    fault: Option<Failure>,
    /// Number of the last request; answers to older ones are passed over.
    request: u64,
    awaited: Option<Awaited>,
    /// Jobs pushed while an answer is awaited.
    held: Vec<Job>,
    projects: Vec<Project>,
    selected: Option<JobUid>,
    view: View,
    narrow: bool,
    scroller: NodeRef,
    subscription: Option<Subscription>,
    _listeners: [Option<EventListener>; 2],
}

#[derive(Clone, Copy, PartialEq)]
enum Awaited {
    First,
    Next,
}

impl Component for JobsPage {
    type Message = Msg;
    type Properties = Props;

    fn create(ctx: &Context<Self>) -> Self {
        let link = ctx.link();
        let (api, _) =
            link.context::<Api>(Callback::noop()).expect("the root provides the way to the server");
        let (live, _) =
            link.context::<Live>(Callback::noop()).expect("the root provides the live connection");
        let filter = JobFilter::from_query(&ctx.props().place.query);
        let measure = link.callback(|_: ()| Msg::Measure);
        let resized =
            web_sys::window().map(|window| EventListener::new(&window, "resize", move |_| measure.emit(())));
        let mut page = Self {
            api,
            live,
            typed: filter.search.clone(),
            typing: None,
            filter,
            list: JobList::default(),
            fresh: true,
            fault: None,
            request: 0,
            awaited: None,
            held: Vec::new(),
            projects: Vec::new(),
            selected: None,
            view: View { scrolled_px: 0.0, height_px: 800.0 },
            narrow: false,
            scroller: NodeRef::default(),
            subscription: None,
            _listeners: [resized, listen_to_keys(ctx)],
        };
        page.subscribe(ctx);
        page
    }

    fn changed(&mut self, ctx: &Context<Self>, _: &Props) -> bool {
        let filter = JobFilter::from_query(&ctx.props().place.query);
        if filter == self.filter {
            return false;
        }
        if filter.search != self.filter.search {
            self.typed = filter.search.clone();
        }
        let other_project = filter.project != self.filter.project;
        self.filter = filter;
        self.fresh = true;
        if let Some(scroller) = self.scroller.cast::<Element>() {
            scroller.set_scroll_top(0);
        }
        if other_project {
            self.subscribe(ctx);
        }
        self.ask_first(ctx);
        true
    }

    fn update(&mut self, ctx: &Context<Self>, msg: Msg) -> bool {
        match msg {
            Msg::Live(event) => return self.heard(ctx, event),
            Msg::Page(request, next, answer) => return self.answered(request, next, answer),
            Msg::Projects(answer) => self.projects = answer.unwrap_or_default(),
            Msg::Typed(text) => {
                self.typed = text;
                let link = ctx.link().clone();
                self.typing = Some(Timeout::new(SEARCH_PAUSE_MILLIS, move || link.send_message(Msg::Search)));
            }
            Msg::Search => {
                self.typing = None;
                let filter = JobFilter { search: self.typed.trim().to_owned(), ..self.filter.clone() };
                ctx.props().place.rewrite(&filter.to_query());
                return false;
            }
            Msg::Choose(filter) => {
                ctx.props().place.rewrite(&filter.to_query());
                return false;
            }
            Msg::Tag(tag) => {
                ctx.props().place.rewrite(&self.filter.clone().toggle_tag(&tag).to_query());
                return false;
            }
            Msg::Key(Key::Move(by)) => self.select(by),
            Msg::Key(Key::Open) => {
                let row = self.list.rows().iter().find(|row| Some(row.uid) == self.selected);
                row.iter().for_each(|job| open(ctx, job));
                return false;
            }
            Msg::Open(job) => {
                open(ctx, &job);
                return false;
            }
            Msg::Measure => return self.measure(ctx),
            Msg::Retry => self.ask_first(ctx),
        }
        true
    }

    fn view(&self, ctx: &Context<Self>) -> Html {
        let link = ctx.link();
        html! {
            <main class="page jobs">
                <Toolbar
                    filter={self.filter.clone()}
                    typed={self.typed.clone()}
                    projects={self.projects.clone()}
                    tags={self.known_tags()}
                    count={self.count_text()}
                    on_typed={link.callback(Msg::Typed)}
                    on_filter={link.callback(Msg::Choose)}
                />
                <div class="jobs-scroll" ref={self.scroller.clone()} onscroll={link.callback(|_: Event| Msg::Measure)} tabindex="-1">
                    if self.list.rows().is_empty() {
                        { self.nothing(ctx) }
                    } else {
                        { self.table(ctx) }
                    }
                </div>
            </main>
        }
    }

    fn rendered(&mut self, ctx: &Context<Self>, first: bool) {
        if first {
            set_title();
            ctx.link().send_message(Msg::Measure);
        }
    }
}

impl JobsPage {
    fn subscribe(&mut self, ctx: &Context<Self>) {
        self.subscription = None;
        let topic = Topic::Jobs { project: self.filter.project.clone() };
        self.subscription = Some(self.live.subscribe(topic, ctx.link().callback(Msg::Live)));
    }

    fn heard(&mut self, ctx: &Context<Self>, event: LiveEvent) -> bool {
        match event {
            LiveEvent::Subscribed(_) => {
                self.ask_first(ctx);
                self.ask_projects(ctx);
            }
            LiveEvent::Lost if self.fresh && self.awaited.is_none() => {
                self.ask_first(ctx);
                self.ask_projects(ctx);
            }
            LiveEvent::Down(message) => match *message {
                LiveDown::Job { job, .. } => self.apply(*job),
                LiveDown::Reread { .. } => self.ask_first(ctx),
                _ => return false,
            },
            _ => return false,
        }
        true
    }

    fn apply(&mut self, job: Job) {
        if self.awaited.is_some() {
            self.held.push(job.clone());
        }
        if !self.fresh {
            self.list.apply(job, &self.filter);
        }
    }

    fn ask_first(&mut self, ctx: &Context<Self>) {
        let rows = if self.fresh { PAGE } else { self.list.rows().len().clamp(PAGE, LARGEST_PAGE) };
        self.awaited = Some(Awaited::First);
        self.ask(ctx, self.filter.to_query().set("limit", rows));
    }

    fn ask_next(&mut self, ctx: &Context<Self>) {
        let Some(cursor) = self.list.next() else { return };
        self.awaited = Some(Awaited::Next);
        self.ask(ctx, self.filter.to_query().set("limit", PAGE).set("cursor", cursor));
    }

    fn ask(&mut self, ctx: &Context<Self>, query: Query) {
        self.request += 1;
        self.held.clear();
        let (request, next) = (self.request, self.awaited == Some(Awaited::Next));
        let api = self.api.clone();
        ctx.link()
            .send_future(async move { Msg::Page(request, next, api.read(&format!("/jobs?{query}")).await) });
    }

    fn ask_projects(&self, ctx: &Context<Self>) {
        let api = self.api.clone();
        ctx.link().send_future(async move { Msg::Projects(api.read("/projects").await) });
    }

    fn answered(&mut self, request: u64, next: bool, answer: Result<Page<Job>, Failure>) -> bool {
        if request != self.request {
            return false;
        }
        self.awaited = None;
        match answer {
            Ok(page) => {
                if next {
                    self.list.extend(page)
                } else {
                    self.list.restart(page)
                }
                (self.fresh, self.fault) = (false, None);
                for job in std::mem::take(&mut self.held) {
                    self.list.apply(job, &self.filter);
                }
            }
            Err(failure) => self.fault = Some(failure),
        }
        true
    }

    fn select(&mut self, by: i64) {
        let rows = self.list.rows();
        let at = rows.iter().position(|row| Some(row.uid) == self.selected);
        let to = match at {
            Some(at) => (at as i64 + by).clamp(0, rows.len() as i64 - 1),
            None => 0,
        };
        let Some(row) = rows.get(to as usize) else { return };
        self.selected = Some(row.uid);
        self.reveal(to as usize);
    }

    /// Scrolls just so far that the row of that number is in view.
    fn reveal(&self, row: usize) {
        let Some(scroller) = self.scroller.cast::<Element>() else { return };
        if let Ok(Some(element)) = scroller.query_selector(&format!("[aria-rowindex=\"{}\"]", row + 2)) {
            let options = ScrollIntoViewOptions::new();
            options.set_block(ScrollLogicalPosition::Nearest);
            element.scroll_into_view_with_scroll_into_view_options(&options);
        } else {
            scroller.set_scroll_top((row as f64 * self.row_px()) as i32);
        }
    }

    fn measure(&mut self, ctx: &Context<Self>) -> bool {
        let Some(scroller) = self.scroller.cast::<Element>() else { return false };
        let view = View {
            scrolled_px: f64::from(scroller.scroll_top()),
            height_px: f64::from(scroller.client_height()),
        };
        let narrow = web_sys::window()
            .and_then(|window| window.match_media(NARROW).ok().flatten())
            .is_some_and(|query| query.matches());
        let same = view == self.view && narrow == self.narrow;
        (self.view, self.narrow) = (view, narrow);
        let near_end = self.window().end + PAGE as u64 / 2 >= self.list.rows().len() as u64;
        if near_end && self.list.next().is_some() && self.awaited.is_none() && self.fault.is_none() {
            self.ask_next(ctx);
        }
        !same
    }

    fn row_px(&self) -> f64 {
        if self.narrow { CARD_PX } else { ROW_PX }
    }

    fn window(&self) -> Window {
        Window::of(self.view, self.list.rows().len() as u64, self.row_px(), 12)
    }

    fn known_tags(&self) -> Rc<[Tag]> {
        let tags = self.list.rows().iter().flat_map(|job| &job.tags).chain(&self.filter.tags);
        tags.cloned().collect::<std::collections::BTreeSet<_>>().into_iter().collect()
    }

    fn count_text(&self) -> AttrValue {
        if self.fresh { "".into() } else { format::count(self.list.total()).into() }
    }
}

fn open(ctx: &Context<JobsPage>, job: &Job) {
    ctx.props().place.go(&Tab::Charts.of(&job.id.to_string()), &Query::default());
}

fn listen_to_keys(ctx: &Context<JobsPage>) -> Option<EventListener> {
    let link = ctx.link().clone();
    keys::listen(Callback::from(move |key: String| {
        let key = match key.as_str() {
            "j" | "ArrowDown" => Key::Move(1),
            "k" | "ArrowUp" => Key::Move(-1),
            "Enter" => Key::Open,
            _ => return false,
        };
        link.send_message(Msg::Key(key));
        true
    }))
}

fn set_title() {
    if let Some(document) = web_sys::window().and_then(|window| window.document()) {
        document.set_title("Jobs · Neptune");
    }
}

/// The key of a project as it is written in a menu.
pub(crate) fn project_label(key: &ProjectKey, projects: &[Project]) -> String {
    match projects.iter().find(|project| project.key == *key) {
        Some(project) if project.name != key.as_str() => format!("{key} · {}", project.name),
        _ => key.to_string(),
    }
}
