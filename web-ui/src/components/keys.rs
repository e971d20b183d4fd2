//! Keys that mean something anywhere on the page, unless one is writing.

use gloo_events::{EventListener, EventListenerOptions};
use wasm_bindgen::JsCast;
use web_sys::{Element, HtmlElement, HtmlInputElement, KeyboardEvent};
use yew::Callback;

/// Listens to plain keys until it is dropped. The callback answers whether the key was meant for it.
pub fn listen(pressed: Callback<String, bool>) -> Option<EventListener> {
    let document = web_sys::window()?.document()?;
    let options = EventListenerOptions::enable_prevent_default();
    Some(EventListener::new_with_options(&document, "keydown", options, move |event| {
        let Some(event) = event.dyn_ref::<KeyboardEvent>() else { return };
        let modified = event.ctrl_key() || event.meta_key() || event.alt_key();
        if !modified && !is_for_element(event) && pressed.emit(event.key()) {
            event.prevent_default();
        }
    }))
}

/// Whether the element that has the focus wants the key for itself: text wants all, buttons and links want Enter.
fn is_for_element(event: &KeyboardEvent) -> bool {
    let Some(element) = event.target().and_then(|target| target.dyn_into::<Element>().ok()) else {
        return false;
    };
    let in_dialog = element.closest("dialog").ok().flatten().is_some();
    match element.tag_name().to_ascii_lowercase().as_str() {
        "input" => element.dyn_ref::<HtmlInputElement>().is_some_and(|input| {
            !matches!(input.type_().as_str(), "checkbox" | "radio") || event.key() == "Enter"
        }),
        "textarea" | "select" => true,
        "a" | "button" | "summary" => in_dialog || event.key() == "Enter",
        _ => in_dialog,
    }
}

/// Puts the focus into the search field that is on the page.
pub fn focus_search() -> bool {
    let field = web_sys::window()
        .and_then(|window| window.document())
        .and_then(|document| document.query_selector("[data-search]").ok().flatten())
        .and_then(|element| element.dyn_into::<HtmlElement>().ok());
    field.is_some_and(|field| field.focus().is_ok())
}
