//! A link within the page: a real address for the browser, a step of the router for a plain click.

use std::rc::Rc;

use yew::prelude::*;
use yew_router::prelude::*;

use crate::route::{Route, use_place};
use crate::state::address::Query;

/// Where to, and how it looks.
#[derive(Properties, PartialEq)]
pub struct Props {
    /// Where to.
    pub to: Route,
    /// What follows the `?`.
    #[prop_or_default]
    pub query: Rc<Query>,
    /// Classes.
    #[prop_or_default]
    pub class: Classes,
    /// Shown when the pointer rests on it.
    #[prop_or_default]
    pub title: Option<AttrValue>,
    /// Where the page is now.
    #[prop_or_default]
    pub current: bool,
    /// For tests.
    #[prop_or_default]
    pub testid: Option<AttrValue>,
    /// What is clicked.
    pub children: Html,
}

/// Draws a link.
#[component]
pub fn PageLink(props: &Props) -> Html {
    let place = use_place();
    let query = props.query.to_string();
    let href = if query.is_empty() { props.to.to_path() } else { format!("{}?{query}", props.to.to_path()) };
    let onclick = use_callback(
        (place, props.to.clone(), props.query.clone()),
        |event: MouseEvent, (place, to, query)| {
            // A click with a modifier opens a tab or a window: that is the browser's.
            let plain = event.button() == 0
                && !(event.ctrl_key() || event.meta_key() || event.shift_key() || event.alt_key());
            if plain {
                event.prevent_default();
                place.go(to, query);
            }
        },
    );
    html! {
        <a
            {href}
            {onclick}
            class={props.class.clone()}
            title={props.title.clone()}
            aria-current={props.current.then_some("page")}
            data-testid={props.testid.clone()}
        >
            { props.children.clone() }
        </a>
    }
}
