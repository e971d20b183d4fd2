//! What the jobs list draws: the rows near the view between two fillers, or why there are none.

use std::rc::Rc;

use neptune_wire::Job;
use yew::prelude::*;

use super::{JobsPage, Msg};
use crate::components::job_row::JobRow;
use crate::components::notice::Notice;
use crate::state::filter::{JobFilter, SortBy};
use crate::state::format;

impl JobsPage {
    pub(super) fn table(&self, ctx: &Context<Self>) -> Html {
        let window = self.window();
        let rows = &self.list.rows()[window.first as usize..window.end as usize];
        let below = self.list.rows().len() as u64 - window.end;
        let (on_open, on_tag) = (ctx.link().callback(Msg::Open), ctx.link().callback(Msg::Tag));
        let row = |(at, job): (usize, &Rc<Job>)| {
            html! {
                <JobRow
                    key={job.uid.to_string()}
                    job={job.clone()}
                    index={window.first + at as u64}
                    selected={Some(job.uid) == self.selected}
                    on_open={&on_open}
                    on_tag={&on_tag}
                />
            }
        };
        html! {
            <table class="table" aria-label="Jobs" aria-rowcount={(self.list.total() + 1).to_string()} data-testid="jobs-table">
                <thead><tr aria-rowindex="1">{ self.headings(ctx) }</tr></thead>
                <tbody>
                    { filler("above", window.first as f64 * self.row_px()) }
                    { for rows.iter().enumerate().map(row) }
                    { filler("below", below as f64 * self.row_px()) }
                </tbody>
                <caption class="table-end">{ self.end_text() }</caption>
            </table>
        }
    }

    fn headings(&self, ctx: &Context<Self>) -> Html {
        let sorted = |by: SortBy, class: &'static str, title: &'static str| {
            let sort = self.filter.sort;
            let direction =
                (sort.by == by).then_some(if sort.descending { "descending" } else { "ascending" });
            let filter = JobFilter { sort: sort.clicked(by), ..self.filter.clone() };
            let onclick = ctx.link().callback(move |_: MouseEvent| Msg::Choose(filter.clone()));
            html! {
                <th class={class} scope="col" aria-sort={direction}><button class="heading" {onclick}>{ title }</button></th>
            }
        };
        let plain =
            |class: &'static str, title: &'static str| html! { <th class={class} scope="col">{ title }</th> };
        html! {
            <>
                { sorted(SortBy::State, "cell-state", "State") }
                { sorted(SortBy::Id, "cell-id", "Id") }
                { sorted(SortBy::Name, "cell-name", "Name") }
                { plain("cell-tags", "Tags") }
                { sorted(SortBy::Created, "cell-created", "Created") }
                { plain("cell-duration", "Duration") }
                { plain("cell-host", "Host") }
                { plain("cell-params", "Parameters") }
            </>
        }
    }

    fn end_text(&self) -> String {
        match (&self.fault, self.list.next()) {
            (Some(fault), _) => format!("More jobs could not be loaded: {fault}."),
            (None, Some(_)) => {
                let (shown, total) = (self.list.rows().len() as u64, self.list.total());
                format!(
                    "{} of {} jobs are loaded; scroll for more.",
                    format::count(shown),
                    format::count(total)
                )
            }
            (None, None) => String::new(),
        }
    }

    pub(super) fn nothing(&self, ctx: &Context<Self>) -> Html {
        if let (Some(fault), None) = (&self.fault, self.awaited) {
            let onclick = ctx.link().callback(|_: MouseEvent| Msg::Retry);
            return html! {
                <Notice title="The jobs could not be loaded" text={fault.to_string()} fault=true>
                    <button class="button" {onclick}>{ "Try again" }</button>
                </Notice>
            };
        }
        if self.fresh {
            return skeleton();
        }
        if self.filter.is_narrow() {
            let all = JobFilter { sort: self.filter.sort, ..JobFilter::default() };
            let onclick = ctx.link().callback(move |_: MouseEvent| Msg::Choose(all.clone()));
            return html! {
                <Notice title="No job matches" text="Nothing has all that the filter asks for.">
                    <button class="button" {onclick}>{ "Show all jobs" }</button>
                </Notice>
            };
        }
        html! {
            <Notice title="No jobs yet" text="A job appears here the moment it starts. Run one from the folder of your program:">
                <pre class="command">{ "neptune run main.py" }</pre>
            </Notice>
        }
    }
}

fn filler(key: &'static str, height_px: f64) -> Html {
    // A cell's height attribute is a size in pixels, and no style attribute.
    html! { <tr key={key} class="filler" aria-hidden="true"><td colspan="8" height={height_px.to_string()} /></tr> }
}

fn skeleton() -> Html {
    html! {
        <div class="skeleton" role="status" aria-label="loading jobs">{ for (0..12).map(|_| html! { <div class="skeleton-row" /> }) }</div>
    }
}
