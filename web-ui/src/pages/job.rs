//! A job's page: its record, channels and charts, live, and one part of it at a time.

mod charts;
mod details;
mod header;
mod images;
mod logs;

use std::collections::BTreeMap;
use std::rc::Rc;

use gloo_events::EventListener;
use gloo_timers::callback::Timeout;
use neptune_wire::job::AbortJob;
use neptune_wire::live::{LiveDown, Topic};
use neptune_wire::{Channel, ChannelName, Chart, Job, JobRef};
use yew::prelude::*;

use crate::components::keys;
use crate::components::link::PageLink;
use crate::components::notice::Notice;
use crate::net::api::{Api, Failure};
use crate::net::live::{Live, LiveEvent, Subscription};
use crate::route::{Place, Route, Tab};
use crate::state::address::Query;
use charts::Charts;
use details::Details;
use header::JobHeader;
use images::Images;
use logs::Logs;

/// Between two drawings of the page while summaries of channels stream in.
const REFRESH_MILLIS: u32 = 250;

/// A job's channels by name, in the order of their names.
pub(crate) type Channels = Rc<BTreeMap<ChannelName, Channel>>;

/// Which job, and which part of its page.
#[derive(Properties, PartialEq)]
pub struct Props {
    /// The address.
    pub place: Place,
    /// The job's id or uid, as it stands in the address.
    pub id: String,
    /// The part that is shown.
    pub tab: Tab,
}

/// What happens.
pub enum Msg {
    /// From the live connection.
    Live(LiveEvent),
    /// The record, the channels and the charts, asked for together.
    Loaded(Result<Loaded, Failure>),
    /// The abort was confirmed, with a reason.
    Abort(Option<String>),
    /// The server's answer to it.
    Aborted(Result<Box<Job>, Failure>),
    /// Summaries came in since the last drawing.
    Refresh,
    /// A key was pressed.
    Key(Tab),
    /// Ask again after a fault.
    Retry,
}

/// What is known of a job.
#[derive(Debug, Clone)]
pub struct Loaded {
    job: Rc<Job>,
    channels: Channels,
    charts: Rc<Vec<Chart>>,
}

/// A job's page.
pub struct JobPage {
    api: Api,
    live: Live,
    loaded: Option<Loaded>,
    fault: Option<Failure>,
    loading: bool,
    /// Pushed while an answer is awaited.
    held: Vec<LiveDown>,
    abort_fault: Option<Failure>,
    refresh: Option<Timeout>,
    subscription: Option<Subscription>,
    _keys: Option<EventListener>,
}

impl Component for JobPage {
    type Message = Msg;
    type Properties = Props;

    fn create(ctx: &Context<Self>) -> Self {
        let link = ctx.link();
        let (api, _) =
            link.context::<Api>(Callback::noop()).expect("the root provides the way to the server");
        let (live, _) =
            link.context::<Live>(Callback::noop()).expect("the root provides the live connection");
        let mut page = Self {
            api,
            live,
            loaded: None,
            fault: None,
            loading: false,
            held: Vec::new(),
            abort_fault: None,
            refresh: None,
            subscription: None,
            _keys: listen_to_keys(ctx),
        };
        page.begin(ctx);
        page
    }

    fn update(&mut self, ctx: &Context<Self>, msg: Msg) -> bool {
        match msg {
            Msg::Live(event) => return self.heard(ctx, event),
            Msg::Loaded(answer) => self.answered(answer),
            Msg::Abort(reason) => self.abort(ctx, reason),
            // The answer may come after the live stream has told of the end.
            Msg::Aborted(Ok(job)) => {
                if self.loaded.as_ref().is_some_and(|loaded| !loaded.job.state.is_ended()) {
                    self.apply_job(*job);
                }
            }
            Msg::Aborted(Err(failure)) => self.abort_fault = Some(failure),
            Msg::Refresh => self.refresh = None,
            Msg::Key(tab) => {
                ctx.props().place.go(&tab.of(&ctx.props().id), &Query::default());
                return false;
            }
            Msg::Retry => self.load(ctx),
        }
        true
    }

    fn view(&self, ctx: &Context<Self>) -> Html {
        let Some(loaded) = &self.loaded else { return self.nothing(ctx) };
        let Props { place, id, tab } = ctx.props();
        let Loaded { job, channels, charts } = loaded;
        html! {
            <main class={classes!("page", "job", format!("job-{tab}"))}>
                <JobHeader
                    job={job.clone()}
                    id={id.clone()}
                    tab={*tab}
                    channels={channels.clone()}
                    abort_fault={self.abort_fault.as_ref().map(|fault| AttrValue::from(fault.to_string()))}
                    on_abort={ctx.link().callback(Msg::Abort)}
                />
                {
                    match tab {
                        Tab::Charts => html! { <Charts place={place.clone()} job={job.clone()} {channels} {charts} /> },
                        Tab::Logs => html! { <Logs place={place.clone()} job={job.clone()} {channels} /> },
                        Tab::Images => html! { <Images job={job.clone()} {channels} /> },
                        Tab::Details => html! { <Details job={job.clone()} /> },
                    }
                }
            </main>
        }
    }

    fn rendered(&mut self, ctx: &Context<Self>, _: bool) {
        let title = match &self.loaded {
            Some(loaded) => format!("{} {} · Neptune", loaded.job.id, loaded.job.name),
            None => format!("{} · Neptune", ctx.props().id),
        };
        if let Some(document) = web_sys::window().and_then(|window| window.document()) {
            document.set_title(&title);
        }
    }
}

impl JobPage {
    fn begin(&mut self, ctx: &Context<Self>) {
        self.subscription = None;
        match ctx.props().id.parse::<JobRef>() {
            Ok(job) => {
                let topic = Topic::Job { job };
                self.subscription = Some(self.live.subscribe(topic, ctx.link().callback(Msg::Live)));
            }
            Err(error) => self.fault = Some(Failure::Damaged(error.to_string())),
        }
    }

    fn heard(&mut self, ctx: &Context<Self>, event: LiveEvent) -> bool {
        match event {
            LiveEvent::Subscribed(_) => self.load(ctx),
            LiveEvent::Lost if self.loaded.is_none() && !self.loading => self.load(ctx),
            LiveEvent::Down(message) => match *message {
                LiveDown::Reread { .. } => self.load(ctx),
                // The subscription is refused: the answer to the request says why in full.
                LiveDown::Problem { .. } if self.loaded.is_none() => self.load(ctx),
                message => {
                    if self.loading {
                        self.held.push(message.clone());
                    }
                    let many = matches!(message, LiveDown::Channel { .. });
                    let changed = self.apply(message);
                    if changed && many {
                        self.refresh_soon(ctx);
                    }
                    return changed && !many;
                }
            },
            _ => return false,
        }
        true
    }

    fn refresh_soon(&mut self, ctx: &Context<Self>) {
        if self.refresh.is_none() {
            let link = ctx.link().clone();
            self.refresh = Some(Timeout::new(REFRESH_MILLIS, move || link.send_message(Msg::Refresh)));
        }
    }

    fn load(&mut self, ctx: &Context<Self>) {
        self.loading = true;
        self.held.clear();
        let (api, id) = (self.api.clone(), ctx.props().id.clone());
        ctx.link().send_future(async move { Msg::Loaded(load(&api, &id).await) });
    }

    fn answered(&mut self, answer: Result<Loaded, Failure>) {
        self.loading = false;
        match answer {
            Ok(loaded) => {
                (self.loaded, self.fault) = (Some(loaded), None);
                for message in std::mem::take(&mut self.held) {
                    self.apply(message);
                }
            }
            Err(failure) => self.fault = Some(failure),
        }
    }

    fn apply(&mut self, message: LiveDown) -> bool {
        let Some(loaded) = &mut self.loaded else { return false };
        match message {
            LiveDown::Job { job, .. } => self.apply_job(*job),
            LiveDown::Channel { channel, .. } => {
                Rc::make_mut(&mut loaded.channels).insert(channel.name.clone(), channel);
            }
            LiveDown::Chart { chart, .. } => {
                let charts = Rc::make_mut(&mut loaded.charts);
                match charts.iter_mut().find(|held| held.name == chart.name) {
                    Some(held) => *held = chart,
                    None => charts.push(chart),
                }
            }
            _ => return false,
        }
        true
    }

    fn apply_job(&mut self, job: Job) {
        if let Some(loaded) = &mut self.loaded {
            loaded.job = Rc::new(job);
        }
    }

    fn abort(&mut self, ctx: &Context<Self>, reason: Option<String>) {
        self.abort_fault = None;
        let Some(loaded) = &self.loaded else { return };
        let (api, path) = (self.api.clone(), format!("/jobs/{}/abort", loaded.job.id));
        ctx.link().send_future(async move {
            let body = AbortJob { reason, grace_millis: None };
            Msg::Aborted(api.post_for::<Job>(&path, &body).await.map(Box::new))
        });
    }

    fn nothing(&self, ctx: &Context<Self>) -> Html {
        let id = &ctx.props().id;
        let Some(fault) = &self.fault else {
            return html! {
                <main class="page job"><div class="skeleton" role="status" aria-label="loading the job">
                    <div class="skeleton-head" />
                    <div class="skeleton-charts">{ for (0..6).map(|_| html! { <div class="skeleton-chart" /> }) }</div>
                </div></main>
            };
        };
        let onclick = ctx.link().callback(|_: MouseEvent| Msg::Retry);
        let (title, text, retry) = match fault {
            fault if fault.is_unknown() => {
                let text = "Its id may be mistyped, or the job is on another server.".to_owned();
                (format!("There is no job {id}"), text, false)
            }
            Failure::Damaged(_) => (format!("{id} is no job"), fault.to_string(), false),
            _ => (format!("{id} could not be loaded"), fault.to_string(), true),
        };
        html! {
            <main class="page job">
                <Notice {title} {text} fault=true>
                    if retry {
                        <button class="button" {onclick}>{ "Try again" }</button>
                    }
                    <PageLink to={Route::Jobs} class="button">{ "All jobs" }</PageLink>
                </Notice>
            </main>
        }
    }
}

async fn load(api: &Api, id: &str) -> Result<Loaded, Failure> {
    let job: Job = api.read(&format!("/jobs/{id}")).await?;
    let channels: Vec<Channel> = api.read(&format!("/jobs/{id}/channels")).await?;
    let charts: Vec<Chart> = api.read(&format!("/jobs/{id}/charts")).await?;
    let channels = channels.into_iter().map(|channel| (channel.name.clone(), channel));
    Ok(Loaded { job: job.into(), channels: Rc::new(channels.collect()), charts: Rc::new(charts) })
}

fn listen_to_keys(ctx: &Context<JobPage>) -> Option<EventListener> {
    let link = ctx.link().clone();
    keys::listen(Callback::from(move |key: String| {
        let tab = key.parse::<usize>().ok().and_then(|number| Tab::ALL.get(number.wrapping_sub(1)));
        tab.inspect(|tab| link.send_message(Msg::Key(**tab))).is_some()
    }))
}
