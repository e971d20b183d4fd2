//! Times and durations that move on by themselves.

use neptune_wire::Job;
use std::rc::Rc;
use yew::prelude::*;

use crate::net::clock::{self, Tick};
use crate::state::{format, timing};

/// Draws again every second while `ticking`.
#[hook]
fn use_tick(ticking: bool) {
    let update = use_force_update();
    use_effect_with(ticking, move |ticking| {
        let tick = ticking.then(|| Tick::every_second(Callback::from(move |()| update.force_update())));
        move || drop(tick)
    });
}

/// Of which job.
#[derive(Properties, PartialEq)]
pub struct DurationProps {
    /// Which.
    pub job: Rc<Job>,
}

/// How long a job ran or has been running.
#[component]
pub fn Duration(props: &DurationProps) -> Html {
    use_tick(timing::is_ticking(&props.job));
    match timing::ran_micros(&props.job, clock::now_micros()) {
        Some(micros) => html! { <span class="number">{ format::duration(micros) }</span> },
        None => html! { <span class="faint">{ "–" }</span> },
    }
}

/// Which time.
#[derive(Properties, PartialEq)]
pub struct TimeProps {
    /// Microseconds since the epoch.
    pub micros: i64,
}

/// How long ago for the last day, a date before that; the exact time when the pointer rests on it.
#[component]
pub fn Age(props: &TimeProps) -> Html {
    let age = format::age(clock::now_micros() - props.micros);
    use_tick(age.is_some());
    let east = clock::minutes_east(props.micros);
    let text = age.unwrap_or_else(|| format::date_minute(props.micros, east));
    html! { <time class="number" title={format::exact_time(props.micros, east)}>{ text }</time> }
}

/// The exact time.
#[component]
pub fn ExactTime(props: &TimeProps) -> Html {
    let east = clock::minutes_east(props.micros);
    html! { <time class="number" title={format::exact_time(props.micros, east)}>{ format::date_time(props.micros, east) }</time> }
}
