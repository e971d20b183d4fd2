//! A window over the page: the browser's own, with its focus trap and its Escape key.

use web_sys::HtmlDialogElement;
use yew::prelude::*;

/// What is in it.
#[derive(Properties, PartialEq)]
pub struct Props {
    /// Its heading.
    pub title: AttrValue,
    /// It was closed: by Escape or by a click beside it.
    pub on_close: Callback<()>,
    /// For tests.
    #[prop_or_default]
    pub testid: Option<AttrValue>,
    /// Its body.
    pub children: Html,
}

/// Draws a dialog for as long as it is part of the page.
#[component]
pub fn Dialog(props: &Props) -> Html {
    let node = use_node_ref();
    use_effect_with(node.clone(), |node| {
        if let Some(dialog) = node.cast::<HtmlDialogElement>().filter(|dialog| !dialog.open()) {
            let _ = dialog.show_modal();
        }
    });
    let onclose = use_callback(props.on_close.clone(), |_: Event, close| close.emit(()));
    let onclick = use_callback((node.clone(), props.on_close.clone()), |event: MouseEvent, (node, close)| {
        // The dialog itself is only hit beside its content.
        if event.target() == node.get().map(Into::into) {
            close.emit(());
        }
    });
    html! {
        <dialog ref={node} class="dialog" aria-label={props.title.clone()} {onclose} {onclick} data-testid={props.testid.clone()}>
            <div class="dialog-body">
                <h2>{ props.title.clone() }</h2>
                { props.children.clone() }
            </div>
        </dialog>
    }
}
