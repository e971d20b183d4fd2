//! One line of a log: its number, its step where that says something, and the text as a terminal would show it.

use neptune_wire::ChannelKind;
use neptune_wire::query::Line;
use yew::prelude::*;

use crate::net::clock;
use crate::state::ansi::{self, Run, Style};
use crate::state::format;

/// Which line.
#[derive(Properties, PartialEq)]
pub struct Props {
    /// Its number.
    pub number: u64,
    /// The line; absent while it is fetched.
    pub line: Option<Line>,
    /// Shows the point's x: in a text channel, not in a log.
    pub with_x: bool,
    /// Found by a search: clicking its number leads there.
    #[prop_or_default]
    pub on_jump: Option<Callback<u64>>,
    /// The line that was jumped to.
    #[prop_or_default]
    pub marked: bool,
}

/// Draws a line.
#[component]
pub fn LogRow(props: &Props) -> Html {
    // People count from 1; the contract counts from 0.
    let number = format::count(props.number + 1);
    let Some(line) = &props.line else {
        return html! { <div class="log-row log-row-absent"><span class="log-number">{ number }</span></div> };
    };
    let (shown, folded) = ansi::fold_progress(&line.text);
    let east = clock::minutes_east(line.time.0);
    let number = match &props.on_jump {
        Some(jump) => {
            let onclick = jump.reform({
                let number = props.number;
                move |_: MouseEvent| number
            });
            html! { <button class="log-number" title="show this line among the others" {onclick}>{ number }</button> }
        }
        None => html! { <span class="log-number">{ number }</span> },
    };
    html! {
        <div class={classes!("log-row", props.marked.then_some("log-row-marked"))}>
            { number }
            <span class="log-time" title={format::exact_time(line.time.0, east)}>{ format::clock_time(line.time.0, east) }</span>
            if props.with_x {
                <span class="log-x" title="x">{ format::number(line.x.0) }</span>
            }
            <span class="log-text">
                { for ansi::parse(shown).iter().map(run) }
                if folded > 0 {
                    <span class="log-mark" title={format!("{folded} earlier drawings of this line; the raw log has them")}>{ format!(" ↺{folded}") }</span>
                }
                if line.continues {
                    <span class="log-mark" title="the line is longer than 64 KiB and goes on in the next row">{ " ↩" }</span>
                }
            </span>
        </div>
    }
}

/// Whether a channel's lines carry an x worth showing.
pub fn shows_x(kind: ChannelKind, is_log: bool) -> bool {
    kind == ChannelKind::Text && !is_log
}

fn run(run: &Run) -> Html {
    if run.style == Style::default() && !run.text.contains('\u{fffd}') {
        return html! { { &run.text } };
    }
    let Style { colour, ground, bold, dim, italic, underline } = run.style;
    let class = classes!(
        colour.map(|colour| format!("ansi-{colour}")),
        ground.map(|ground| format!("ansi-on-{ground}")),
        bold.then_some("ansi-bold"),
        dim.then_some("ansi-dim"),
        italic.then_some("ansi-italic"),
        underline.then_some("ansi-underline"),
    );
    html! { <span {class}>{ for parts(&run.text) }</span> }
}

/// Marks what was no UTF-8.
fn parts(text: &str) -> Vec<Html> {
    let mut parts = Vec::new();
    for (at, plain) in text.split('\u{fffd}').enumerate() {
        if at > 0 {
            parts.push(html! { <span class="log-damaged" title="bytes that are no UTF-8; the raw log has them">{ "\u{fffd}" }</span> });
        }
        if !plain.is_empty() {
            parts.push(html! { { plain } });
        }
    }
    parts
}
