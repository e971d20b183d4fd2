//! One image channel. Descriptions of images are fetched by pages of [`PAGE`] around the one that is shown; the browser
//! fetches the pictures themselves, and keeps them.

use std::collections::{BTreeMap, BTreeSet};

use neptune_wire::live::{LiveDown, Topic};
use neptune_wire::query::{ImagePoint, Images};
use neptune_wire::server::API;
use neptune_wire::{ChannelName, JobId, JobRef};
use wasm_bindgen::JsCast;
use web_sys::HtmlInputElement;
use yew::prelude::*;

use crate::components::time::Age;
use crate::net::api::{Api, Failure};
use crate::net::live::{Live, LiveEvent, Subscription};
use crate::state::address::encode_segment;
use crate::state::format;

/// Descriptions per request.
const PAGE: u64 = 100;
/// A picture up to this many pixels wide is drawn larger than it is.
const SMALL_PX: u32 = 160;
/// Pictures of the strip are fetched so many pixels wide or high: twice of what is drawn, for dense screens.
const THUMB_PX: u32 = 160;
/// Neighbours in the strip, on either side.
const STRIP: u64 = 6;

#[derive(Properties, PartialEq)]
pub(super) struct Props {
    pub(super) job: JobId,
    pub(super) channel: ChannelName,
    /// As far as the job's record says.
    pub(super) count: u64,
}

pub(super) enum Msg {
    Live(LiveEvent),
    Answered(u64, Result<Images, Failure>),
    Show(u64),
    Slide(Option<u64>),
}

pub(super) struct Viewer {
    api: Api,
    total: u64,
    images: BTreeMap<u64, ImagePoint>,
    asked: BTreeSet<u64>,
    /// The image that is shown; absent: the newest, whichever that is.
    chosen: Option<u64>,
    fault: Option<Failure>,
    _subscription: Subscription,
}

impl Component for Viewer {
    type Message = Msg;
    type Properties = Props;

    fn create(ctx: &Context<Self>) -> Self {
        let link = ctx.link();
        let (api, _) =
            link.context::<Api>(Callback::noop()).expect("the root provides the way to the server");
        let (live, _) =
            link.context::<Live>(Callback::noop()).expect("the root provides the live connection");
        let Props { job, channel, count } = ctx.props();
        let topic = Topic::Channels { job: JobRef::Id(job.clone()), channels: vec![channel.clone()] };
        Self {
            api,
            total: *count,
            images: BTreeMap::new(),
            asked: BTreeSet::new(),
            chosen: None,
            fault: None,
            _subscription: live.subscribe(topic, link.callback(Msg::Live)),
        }
    }

    fn update(&mut self, ctx: &Context<Self>, msg: Msg) -> bool {
        match msg {
            Msg::Live(event) => return self.heard(ctx, event),
            Msg::Answered(_, Ok(images)) => {
                self.fault = None;
                self.total = self.total.max(images.total);
                self.keep(images.images);
            }
            Msg::Answered(page, Err(failure)) => {
                self.asked.remove(&page);
                self.fault = Some(failure);
            }
            Msg::Slide(None) => return false,
            Msg::Show(index) | Msg::Slide(Some(index)) => {
                let newest = index + 1 >= self.total;
                self.chosen = (!newest).then_some(index);
                self.ask(ctx);
            }
        }
        true
    }

    fn view(&self, ctx: &Context<Self>) -> Html {
        let channel = &ctx.props().channel;
        html! {
            <section class="viewer" aria-label={channel.to_string()} data-testid="image-view" data-images={self.total.to_string()}>
                <h2><span class="ellipsis" title={channel.to_string()}>{ channel.as_str() }</span><span class="section-count">{ format::count(self.total) }</span></h2>
                if let Some(fault) = &self.fault {
                    <p class="warning" role="alert">{ format!("Not loaded: {fault}.") }</p>
                }
                if self.total == 0 {
                    <p class="faint">{ "No image yet" }</p>
                } else {
                    { self.stage(ctx) }
                }
            </section>
        }
    }
}

impl Viewer {
    fn heard(&mut self, ctx: &Context<Self>, event: LiveEvent) -> bool {
        match event {
            LiveEvent::Subscribed(marks) => {
                self.total = marks.first().copied().unwrap_or(0);
                self.asked.clear();
            }
            LiveEvent::Lost if self.images.is_empty() => {}
            LiveEvent::Down(message) => match *message {
                LiveDown::Images { images, .. } => self.keep(images),
                LiveDown::Reread { from, .. } => {
                    self.total = self.total.max(from + 1);
                    self.asked.clear();
                }
                LiveDown::Problem { problem, .. } => self.fault = Some(Failure::Refused(problem)),
                _ => return false,
            },
            _ => return false,
        }
        self.ask(ctx);
        true
    }

    fn keep(&mut self, images: Vec<ImagePoint>) {
        for image in images {
            self.total = self.total.max(image.index + 1);
            self.images.insert(image.index, image);
        }
    }

    fn shown(&self) -> u64 {
        self.chosen.unwrap_or(self.total.saturating_sub(1)).min(self.total.saturating_sub(1))
    }

    fn strip(&self) -> std::ops::Range<u64> {
        let first = self.shown().saturating_sub(STRIP);
        first..(self.shown() + STRIP + 1).min(self.total)
    }

    /// Asks for the descriptions that the strip needs and that are not here.
    fn ask(&mut self, ctx: &Context<Self>) {
        let missing: BTreeSet<u64> =
            self.strip().filter(|index| !self.images.contains_key(index)).map(|index| index / PAGE).collect();
        for page in missing {
            if !self.asked.insert(page) {
                continue;
            }
            let (api, path) = (self.api.clone(), self.path(ctx));
            ctx.link().send_future(async move {
                let path = format!("{path}?index={}&limit={PAGE}", page * PAGE);
                Msg::Answered(page, api.read(&path).await)
            });
        }
    }

    fn path(&self, ctx: &Context<Self>) -> String {
        format!("/jobs/{}/channels/{}/images", ctx.props().job, encode_segment(ctx.props().channel.as_str()))
    }

    fn stage(&self, ctx: &Context<Self>) -> Html {
        let shown = self.shown();
        let image = self.images.get(&shown);
        let name = image.map(|image| image.name.as_str()).filter(|name| !name.is_empty());
        let alt = name.map_or_else(|| format!("image {} of {}", shown + 1, ctx.props().channel), Into::into);
        let oninput = ctx.link().callback(|event: InputEvent| {
            let field = event.target().and_then(|target| target.dyn_into::<HtmlInputElement>().ok());
            Msg::Slide(field.and_then(|field| field.value().parse().ok()))
        });
        let small = image.is_some_and(|image| image.width <= SMALL_PX);
        html! {
            <>
                <div class={classes!("stage", small.then_some("stage-pixels"))}><img src={self.address(ctx, shown)} {alt} data-index={shown.to_string()} /></div>
                <div class="stage-about">
                    <p class="stage-name ellipsis" title={name.map(ToOwned::to_owned)}>{ name.unwrap_or("(no name)") }</p>
                    <p class="stage-text">{ image.map(|image| image.description.as_str()).unwrap_or_default() }</p>
                    { facts(image) }
                </div>
                <div class="slider">
                    <input
                        type="range"
                        min="0"
                        max={(self.total - 1).to_string()}
                        value={shown.to_string()}
                        aria-label="which image"
                        {oninput}
                    />
                    <span class="number">{ format!("{} / {}", format::count(shown + 1), format::count(self.total)) }</span>
                    if self.chosen.is_some() {
                        <button class="button button-small" onclick={ctx.link().callback({ let last = self.total - 1; move |_: MouseEvent| Msg::Show(last) })}>{ "Newest" }</button>
                    }
                </div>
                if self.total > 1 {
                    <div class="strip-images">{ for self.strip().map(|index| self.thumb(ctx, index)) }</div>
                }
            </>
        }
    }

    fn thumb(&self, ctx: &Context<Self>, index: u64) -> Html {
        let label = match self.images.get(&index) {
            Some(image) => format!("x = {}", format::number(image.x.0)),
            None => format!("image {}", index + 1),
        };
        let onclick = ctx.link().callback(move |_: MouseEvent| Msg::Show(index));
        html! {
            <button
                key={index}
                class={classes!("thumb", (index == self.shown()).then_some("thumb-shown"))}
                aria-pressed={(index == self.shown()).to_string()}
                {onclick}
            >
                <img src={format!("{}?size={THUMB_PX}", self.address(ctx, index))} alt="" loading="lazy" />
                <span>{ label }</span>
            </button>
        }
    }

    fn address(&self, ctx: &Context<Self>, index: u64) -> String {
        format!("{API}{}/{index}", self.path(ctx))
    }
}

fn facts(image: Option<&ImagePoint>) -> Html {
    let Some(image) = image else { return html! { <p class="faint">{ "Loading …" }</p> } };
    html! {
        <p class="faint stage-facts">
            <span>{ format!("x = {}", format::number(image.x.0)) }</span>
            <span>{ format!("{} × {}", image.width, image.height) }</span>
            <span>{ format::bytes(image.size_bytes) }</span>
            <Age micros={image.time.0} />
        </p>
    }
}
