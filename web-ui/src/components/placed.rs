//! Boxes whose size or place is a number of pixels. The page's policy forbids style attributes, so they are set through
//! the element's style object.

use web_sys::HtmlElement;
use yew::prelude::*;

/// How tall, and how far moved down.
#[derive(Properties, PartialEq)]
pub struct Props {
    /// Height.
    pub height_px: f64,
    /// Offset of the content from the top.
    #[prop_or_default]
    pub offset_px: f64,
    /// Class of the outer box.
    #[prop_or_default]
    pub class: Classes,
    /// What is drawn.
    #[prop_or_default]
    pub children: Html,
}

/// Draws a box of a height with its content at an offset: the visible part of a long list.
#[component]
pub fn Placed(props: &Props) -> Html {
    let (outer, inner) = (use_node_ref(), use_node_ref());
    use_effect_with(
        (outer.clone(), inner.clone(), props.height_px, props.offset_px),
        |(outer, inner, height, offset)| {
            set(outer, "height", &format!("{height}px"));
            set(inner, "transform", &format!("translateY({offset}px)"));
        },
    );
    html! {
        <div ref={outer} class={props.class.clone()}>
            <div ref={inner} class="placed-content">{ props.children.clone() }</div>
        </div>
    }
}

/// Sets one property of an element's style.
pub fn set(node: &NodeRef, property: &str, value: &str) {
    if let Some(element) = node.cast::<HtmlElement>() {
        // Only fails for a property that is read-only.
        let _ = element.style().set_property(property, value);
    }
}
