//! A button that unfolds choices; closes by Escape, by a click elsewhere, and by the button.

use gloo_events::EventListener;
use wasm_bindgen::JsCast;
use web_sys::{HtmlDetailsElement, HtmlElement, KeyboardEvent, Node};
use yew::prelude::*;

/// What it offers.
#[derive(Properties, PartialEq)]
pub struct Props {
    /// On the button.
    pub label: AttrValue,
    /// How many choices are made; shown beside the label.
    #[prop_or_default]
    pub chosen: usize,
    /// For tests.
    #[prop_or_default]
    pub testid: Option<AttrValue>,
    /// The choices.
    pub children: Html,
}

/// Draws a menu.
#[component]
pub fn Menu(props: &Props) -> Html {
    let node = use_node_ref();
    use_effect_with(node.clone(), |node| {
        let node = node.clone();
        let document = web_sys::window().and_then(|window| window.document());
        let listener = document.map(|document| {
            EventListener::new(&document, "pointerdown", move |event| {
                let Some(details) = node.cast::<HtmlDetailsElement>() else { return };
                let hit = event.target().and_then(|target| target.dyn_into::<Node>().ok());
                if !details.contains(hit.as_ref()) {
                    details.set_open(false);
                }
            })
        });
        move || drop(listener)
    });
    let onkeydown = use_callback(node.clone(), |event: KeyboardEvent, node| {
        let Some(details) = node.cast::<HtmlDetailsElement>().filter(|_| event.key() == "Escape") else {
            return;
        };
        details.set_open(false);
        if let Ok(Some(summary)) = details.query_selector("summary")
            && let Some(summary) = summary.dyn_ref::<HtmlElement>()
        {
            let _ = summary.focus();
        }
    });
    html! {
        <details ref={node} class={classes!("menu", (props.chosen > 0).then_some("menu-chosen"))} {onkeydown} data-testid={props.testid.clone()}>
            <summary class="button">
                { props.label.clone() }
                if props.chosen > 0 {
                    <span class="menu-count">{ props.chosen }</span>
                }
            </summary>
            <div class="menu-choices">{ props.children.clone() }</div>
        </details>
    }
}
