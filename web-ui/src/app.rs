//! The root of the page.

use yew::{Html, function_component, html};

/// The root of the page.
#[function_component]
pub fn App() -> Html {
    html! { <main><h1>{ "Neptune" }</h1></main> }
}

/// Mounts the page into the document's body.
pub fn mount() {
    yew::Renderer::<App>::new().render();
}
