//! What stands where there is nothing to show: why, and what one can do.

use yew::prelude::*;

/// What to say.
#[derive(Properties, PartialEq)]
pub struct Props {
    /// In a few words.
    pub title: AttrValue,
    /// In a sentence.
    #[prop_or_default]
    pub text: AttrValue,
    /// Something went wrong.
    #[prop_or_default]
    pub fault: bool,
    /// A command or a button.
    #[prop_or_default]
    pub children: Html,
}

/// Draws a notice.
#[component]
pub fn Notice(props: &Props) -> Html {
    let role = if props.fault { "alert" } else { "status" };
    html! {
        <div class={classes!("notice", props.fault.then_some("notice-fault"))} {role}>
            <p class="notice-title">{ props.title.clone() }</p>
            if !props.text.is_empty() {
                <p class="notice-text">{ props.text.clone() }</p>
            }
            { props.children.clone() }
        </div>
    }
}
