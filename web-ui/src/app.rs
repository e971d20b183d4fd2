//! The root of the page: what all parts share, the frame around them, and which part is shown.

use neptune_wire::server::Server;
use yew::prelude::*;
use yew_router::prelude::*;

use crate::components::frame::Frame;
use crate::components::notice::Notice;
use crate::net::api::Api;
use crate::net::live::Live;
use crate::pages::job::JobPage;
use crate::pages::jobs::JobsPage;
use crate::pages::sign_in::SignIn;
use crate::route::{Route, Tab, use_place};
use crate::state::link::Connection;

/// What the page knows of its server.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Status {
    /// Whether what is shown is live.
    pub connection: Connection,
    /// What the server says of itself; absent until it answered once.
    pub server: Option<Server>,
    /// One must sign in before anything is answered.
    pub signed_out: bool,
}

/// What the page learns of its server.
#[derive(Debug)]
pub enum Change {
    /// The live connection opened or was lost.
    Connection(Connection),
    /// It answered who it is.
    Server(Server),
    /// It asks for a token, or has accepted one.
    SignedOut(bool),
}

impl Reducible for Status {
    type Action = Change;

    fn reduce(self: std::rc::Rc<Self>, change: Change) -> std::rc::Rc<Self> {
        let mut status = (*self).clone();
        match change {
            Change::Connection(connection) => status.connection = connection,
            Change::Server(server) => status.server = Some(server),
            Change::SignedOut(signed_out) => status.signed_out = signed_out,
        }
        status.into()
    }
}

/// The root of the page.
#[component]
pub fn App() -> Html {
    let status = use_reducer(Status::default);
    let change = status.dispatcher();
    let api = use_memo((), {
        let change = change.clone();
        |()| Api::new(Callback::from(move |()| change.dispatch(Change::SignedOut(true))))
    });
    let live = use_memo((), {
        let change = change.clone();
        |()| Live::connect(Callback::from(move |connection| change.dispatch(Change::Connection(connection))))
    });
    use_server_check((*api).clone(), &status, change.clone());
    use_effect_with((status.signed_out, (*live).clone()), |(signed_out, live)| {
        if *signed_out {
            live.pause();
        }
    });
    let signed_in = use_callback((), {
        let live = live.clone();
        move |(), ()| {
            change.dispatch(Change::SignedOut(false));
            live.retry();
        }
    });
    let retry = use_callback((), {
        let live = live.clone();
        move |(), ()| live.retry()
    });
    html! {
        <ContextProvider<Api> context={(*api).clone()}>
            <ContextProvider<Live> context={(*live).clone()}>
                <ContextProvider<Status> context={(*status).clone()}>
                    <BrowserRouter>
                        <Frame status={(*status).clone()} on_retry={retry}>
                            if status.signed_out {
                                <SignIn on_signed_in={signed_in} />
                            } else {
                                <Shown />
                            }
                        </Frame>
                    </BrowserRouter>
                </ContextProvider<Status>>
            </ContextProvider<Live>>
        </ContextProvider<Api>>
    }
}

/// Asks the server what it is, at the start and whenever the connection changes: a WebSocket that is refused does not say
/// why; a small request does.
#[hook]
fn use_server_check(api: Api, status: &Status, change: UseReducerDispatcher<Status>) {
    use_effect_with(status.connection, move |connection| {
        let lost = *connection == Connection::Lost;
        wasm_bindgen_futures::spawn_local(async move {
            let Ok(server) = api.read::<Server>("/server").await else { return };
            change.dispatch(Change::Server(server));
            if lost {
                // A refusal reaches `Api`'s callback.
                let _ = api.read::<serde_json::Value>("/jobs?limit=1").await;
            }
        });
    });
}

/// The part of the page that the address names.
#[component]
fn Shown() -> Html {
    let place = use_place();
    match place.route.clone() {
        Route::Jobs => html! { <JobsPage {place} /> },
        // A page of its own for each job: an answer that comes late is never shown at another job's address.
        Route::Job { id } => html! { <JobPage key={id.clone()} {place} id={id.clone()} tab={Tab::Charts} /> },
        Route::JobTab { id, tab } => html! { <JobPage key={id.clone()} {place} id={id.clone()} {tab} /> },
        Route::NotFound => html! {
            <main class="page">
                <Notice title="There is no such page" text="The address leads nowhere. The list of jobs is at the top left." />
            </main>
        },
    }
}

/// Mounts the page into the document's body.
pub fn mount() {
    yew::Renderer::<App>::new().render();
}
