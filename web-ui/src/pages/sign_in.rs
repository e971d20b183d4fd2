//! Where a server asks for a token: it is turned into a cookie that scripts cannot read.

use neptune_wire::server::Login;
use wasm_bindgen::JsCast;
use web_sys::HtmlInputElement;
use yew::prelude::*;

use crate::net::api::Api;

/// What follows.
#[derive(Properties, PartialEq)]
pub struct Props {
    /// The token was good.
    pub on_signed_in: Callback<()>,
}

/// Draws the sign-in page.
#[component]
pub fn SignIn(props: &Props) -> Html {
    let api = use_context::<Api>().expect("the root of the page provides the way to the server");
    let token = use_state(String::new);
    let trouble = use_state(|| None::<String>);
    let busy = use_state(|| false);
    let oninput = use_callback(token.setter(), |event: InputEvent, token| {
        if let Some(field) = event.target().and_then(|target| target.dyn_into::<HtmlInputElement>().ok()) {
            token.set(field.value());
        }
    });
    let onsubmit = {
        let (token, trouble, busy, signed_in) =
            (token.clone(), trouble.clone(), busy.clone(), props.on_signed_in.clone());
        Callback::from(move |event: SubmitEvent| {
            event.prevent_default();
            let (api, trouble, busy, signed_in) =
                (api.clone(), trouble.clone(), busy.clone(), signed_in.clone());
            let login = Login { token: token.trim().to_owned() };
            busy.set(true);
            wasm_bindgen_futures::spawn_local(async move {
                let answer = api.post("/login", &login).await;
                busy.set(false);
                match answer {
                    Ok(_) => signed_in.emit(()),
                    Err(failure) => trouble.set(Some(failure.to_string())),
                }
            });
        })
    };
    html! {
        <main class="page page-middle">
            <form class="sign-in" {onsubmit}>
                <h1>{ "Sign in" }</h1>
                <label for="token">{ "Token" }</label>
                <input id="token" class="field" type="password" autocomplete="current-password" required=true value={(*token).clone()} {oninput} data-testid="sign-in-token" />
                <p class="faint">{ "An administrator makes one with " }<code>{ "neptune-server token create" }</code>{ "." }</p>
                if let Some(trouble) = &*trouble {
                    <p class="trouble" role="alert">{ trouble }</p>
                }
                <button class="button button-main" type="submit" disabled={*busy}>{ "Sign in" }</button>
            </form>
        </main>
    }
}
