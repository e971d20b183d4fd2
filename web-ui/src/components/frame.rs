//! The frame around every page: name, where one is, whether it is live, help; and the strip that says the server is gone.

use yew::prelude::*;

use super::dialog::Dialog;
use super::icon::{Icon, Picture};
use super::keys;
use super::link::PageLink;
use crate::app::Status;
use crate::route::Route;
use crate::state::link::Connection;

/// The keys that mean something, for the help window.
const KEYS: [(&str, &str); 7] = [
    ("/", "search"),
    ("j  k", "next, previous row of the jobs list"),
    ("Enter", "open the job of the row"),
    ("1 … 4", "charts, logs, images, details of a job"),
    ("drag", "zoom into a chart; double click to see all again"),
    ("Esc", "leave a field, close a menu or window"),
    ("?", "this help"),
];

/// What is around and in it.
#[derive(Properties, PartialEq)]
pub struct Props {
    /// How the page stands with its server.
    pub status: Status,
    /// Try to reach the server now.
    pub on_retry: Callback<()>,
    /// The page.
    pub children: Html,
}

/// Draws the frame.
#[component]
pub fn Frame(props: &Props) -> Html {
    let help = use_state(|| false);
    use_effect_with((), {
        let help = help.setter();
        move |()| {
            let listener = keys::listen(Callback::from(move |key: String| match key.as_str() {
                "/" => keys::focus_search(),
                "?" => {
                    help.set(true);
                    true
                }
                _ => false,
            }));
            move || drop(listener)
        }
    });
    let open_help = use_callback(help.setter(), |_: MouseEvent, help| help.set(true));
    let close_help = use_callback(help.setter(), |(), help| help.set(false));
    let server = props.status.server.as_ref();
    let failed = server.is_some_and(|server| server.failed);
    let read_only = server.is_some_and(|server| server.read_only) && !failed;
    html! {
        <>
            <header class="top">
                <PageLink to={Route::Jobs} class="brand" title={AttrValue::from("all jobs")}>
                    <img src="/favicon.svg" alt="" width="20" height="20" />
                    { "Neptune" }
                </PageLink>
                <span class="top-space" />
                if read_only {
                    <span class="top-warning" title="The server's disk is full: nothing new is stored until there is space.">
                        <Picture icon={Icon::Warning} />{ "Disk full, read-only" }
                    </span>
                }
                if failed {
                    <span class="top-warning" title="Writing failed: nothing new is stored until the server is started again. Its log says why.">
                        <Picture icon={Icon::Warning} />{ "Storage failed, read-only" }
                    </span>
                }
                if !props.status.signed_out {
                    { connection(props.status.connection) }
                }
                <button class="button button-quiet" aria-label="Keyboard help" title="Keyboard help (?)" onclick={open_help}>{ "?" }</button>
            </header>
            { props.children.clone() }
            if props.status.connection == Connection::Lost && !props.status.signed_out {
                { lost(&props.on_retry) }
            }
            if *help {
                <Dialog title="Keys" on_close={close_help}>
                    <dl class="keys">
                        { for KEYS.iter().map(|(key, what)| html! { <><dt><kbd>{ key }</kbd></dt><dd>{ what }</dd></> }) }
                    </dl>
                    <p class="faint">{ version(&props.status) }</p>
                </Dialog>
            }
        </>
    }
}

fn connection(connection: Connection) -> Html {
    let (class, text, title) = match connection {
        Connection::Open => ("live live-open", "Live", "What you see is pushed by the server as it happens."),
        Connection::Connecting => ("live", "Connecting", "Connecting to the server."),
        Connection::Lost => {
            ("live live-lost", "Offline", "The server does not answer. The page tries again by itself.")
        }
    };
    html! { <span {class} {title} role="status" data-testid="connection">{ text }</span> }
}

fn lost(on_retry: &Callback<()>) -> Html {
    let onclick = on_retry.reform(|_: MouseEvent| ());
    html! {
        <div class="strip" role="alert" data-testid="server-gone">
            <Picture icon={Icon::Warning} />
            <span>{ "The server does not answer. What was loaded stays here; the page reconnects by itself." }</span>
            <button class="button" {onclick}>{ "Try now" }</button>
        </div>
    }
}

fn version(status: &Status) -> String {
    match &status.server {
        Some(server) => format!("Neptune {}", server.version),
        None => "Neptune".into(),
    }
}
