//! The live connection: one WebSocket for the whole page, shared by everything that shows something.
//!
//! [`Link`] decides, this file does: it owns the socket, the timer of the next try and the callbacks of the holders.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

use gloo_events::EventListener;
use gloo_timers::callback::Timeout;
use js_sys::{ArrayBuffer, Uint8Array};
use neptune_wire::columns;
use neptune_wire::live::{LiveDown, LiveUp, Topic};
use neptune_wire::server::API;
use wasm_bindgen::JsCast;
use web_sys::{BinaryType, MessageEvent, WebSocket};
use yew::Callback;

use crate::chart::track::Points;
use crate::state::link::{Connection, Link};

/// What a subscription is told.
#[derive(Debug, Clone)]
pub enum LiveEvent {
    /// It holds (again): what is newer than the marks will come, ask REST for what is missing below them.
    Subscribed(Vec<u64>),
    /// A try to connect has failed: who has nothing to show yet asks REST now.
    Lost,
    /// A delta.
    Down(Box<LiveDown>),
    /// Numeric points of the channel of that name.
    Points(String, Points),
}

/// The live connection; cheap to clone.
#[derive(Clone)]
pub struct Live(Rc<Shared>);

struct Shared {
    link: RefCell<Link>,
    socket: RefCell<Option<Socket>>,
    holders: RefCell<BTreeMap<u32, Callback<LiveEvent>>>,
    next_try: RefCell<Option<Timeout>>,
    watcher: Callback<Connection>,
    /// Not tried again by itself: one must sign in first.
    paused: Cell<bool>,
    online: RefCell<Option<EventListener>>,
}

/// A WebSocket with its listeners; dropping it ends both.
struct Socket {
    socket: WebSocket,
    _listeners: [EventListener; 3],
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Closing a closed socket does nothing; the code is the one for "going away".
        let _ = self.socket.close();
    }
}

impl PartialEq for Live {
    fn eq(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}

/// Holds a topic for as long as it lives.
pub struct Subscription {
    id: u32,
    shared: Rc<Shared>,
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Subscription({})", self.id)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.shared.holders.borrow_mut().remove(&self.id);
        let message = self.shared.link.borrow_mut().unsubscribe(self.id);
        message.iter().for_each(|message| self.shared.send(message));
    }
}

impl Live {
    /// Connects, and tells `watcher` how the page stands with its server.
    pub fn connect(watcher: Callback<Connection>) -> Self {
        let shared = Rc::new(Shared {
            link: RefCell::default(),
            socket: RefCell::default(),
            holders: RefCell::default(),
            next_try: RefCell::default(),
            watcher,
            paused: Cell::new(false),
            online: RefCell::default(),
        });
        let live = Self(shared);
        let again = live.clone();
        if let Some(window) = web_sys::window() {
            let listener = EventListener::new(&window, "online", move |_| again.retry());
            live.0.online.replace(Some(listener));
        }
        open(&live.0);
        live
    }

    /// Subscribes; events come to `holder` until the subscription is dropped.
    pub fn subscribe(&self, topic: Topic, holder: Callback<LiveEvent>) -> Subscription {
        let (id, message) = self.0.link.borrow_mut().subscribe(topic);
        let lost = self.0.link.borrow().connection() == Connection::Lost;
        if lost {
            holder.emit(LiveEvent::Lost);
        }
        self.0.holders.borrow_mut().insert(id, holder);
        message.iter().for_each(|message| self.0.send(message));
        Subscription { id, shared: self.0.clone() }
    }

    /// Stops trying until [`Live::retry`].
    pub fn pause(&self) {
        self.0.paused.set(true);
        self.0.next_try.replace(None);
    }

    /// Tries again now instead of at the end of the pause.
    pub fn retry(&self) {
        self.0.paused.set(false);
        if self.0.link.borrow().connection() != Connection::Open {
            open(&self.0);
        }
    }
}

impl Shared {
    fn send(&self, message: &LiveUp) {
        let text =
            serde_json::to_string(message).expect("a live message is plain data and always serialises");
        if let Some(socket) = &*self.socket.borrow() {
            // A socket that is closing refuses; its close event follows and everything is made again.
            let _ = socket.socket.send_with_str(&text);
        }
    }

    fn tell(&self, id: u32, event: LiveEvent) {
        let holder = self.holders.borrow().get(&id).cloned();
        if let Some(holder) = holder {
            holder.emit(event);
        }
    }

    fn tell_watcher(&self) {
        let connection = self.link.borrow().connection();
        self.watcher.emit(connection);
    }
}

fn open(shared: &Rc<Shared>) {
    shared.next_try.replace(None);
    shared.socket.replace(None);
    shared.link.borrow_mut().connecting();
    match WebSocket::new(&address()) {
        Ok(socket) => {
            socket.set_binary_type(BinaryType::Arraybuffer);
            let listeners = [
                listen(shared, &socket, "open", |shared, _| opened(shared)),
                listen(shared, &socket, "message", |shared, event| received(shared, event.unchecked_ref())),
                listen(shared, &socket, "close", |shared, _| closed(shared)),
            ];
            shared.socket.replace(Some(Socket { socket, _listeners: listeners }));
        }
        Err(_) => closed(shared),
    }
    shared.tell_watcher();
}

fn listen(
    shared: &Rc<Shared>,
    socket: &WebSocket,
    event: &'static str,
    react: fn(&Rc<Shared>, &web_sys::Event),
) -> EventListener {
    let shared = Rc::downgrade(shared);
    EventListener::new(socket, event, move |event| {
        if let Some(shared) = shared.upgrade() {
            react(&shared, event);
        }
    })
}

/// `ws://` or `wss://` beside the page itself.
fn address() -> String {
    let origin = web_sys::window().and_then(|window| window.location().origin().ok()).unwrap_or_default();
    format!("{}{API}/live", origin.replacen("http", "ws", 1))
}

fn opened(shared: &Rc<Shared>) {
    let messages = shared.link.borrow_mut().opened();
    messages.iter().for_each(|message| shared.send(message));
    shared.tell_watcher();
}

fn closed(shared: &Rc<Shared>) {
    let pause = shared.link.borrow_mut().closed(js_sys::Math::random());
    let again = Rc::downgrade(shared);
    let timer = Timeout::new(pause, move || {
        if let Some(shared) = again.upgrade() {
            open(&shared);
        }
    });
    shared.next_try.replace((!shared.paused.get()).then_some(timer));
    let holders: Vec<_> = shared.holders.borrow().values().cloned().collect();
    holders.iter().for_each(|holder| holder.emit(LiveEvent::Lost));
    shared.tell_watcher();
}

fn received(shared: &Rc<Shared>, event: &MessageEvent) {
    let data = event.data();
    let understood = match data.dyn_ref::<ArrayBuffer>() {
        Some(buffer) => received_columns(shared, &Uint8Array::new(buffer).to_vec()),
        None => received_text(shared, &data.as_string().unwrap_or_default()),
    };
    if let Err(error) = understood {
        // What was in it is lost, so what is shown may have a gap: a new connection compares the marks.
        web_sys::console::error_1(&format!("live message not understood: {error}").into());
        if let Some(socket) = &*shared.socket.borrow() {
            let _ = socket.socket.close();
        }
    }
}

fn received_columns(shared: &Rc<Shared>, bytes: &[u8]) -> Result<(), String> {
    for table in columns::decode(bytes).map_err(|error| error.to_string())? {
        let name = table.name.clone();
        let (id, points) = Points::from_table(table).map_err(|error| format!("no {}", error.0))?;
        shared.tell(id, LiveEvent::Points(name, points));
    }
    Ok(())
}

fn received_text(shared: &Rc<Shared>, text: &str) -> Result<(), String> {
    let message: LiveDown = serde_json::from_str(text).map_err(|error| error.to_string())?;
    match message {
        LiveDown::Subscribed { id, marks } => shared.tell(id, LiveEvent::Subscribed(marks)),
        LiveDown::Job { id, .. }
        | LiveDown::Row { id, .. }
        | LiveDown::Left { id, .. }
        | LiveDown::Channel { id, .. }
        | LiveDown::Chart { id, .. }
        | LiveDown::Lines { id, .. }
        | LiveDown::Images { id, .. }
        | LiveDown::Reread { id, .. }
        | LiveDown::Problem { id: Some(id), .. } => shared.tell(id, LiveEvent::Down(Box::new(message))),
        LiveDown::Problem { id: None, problem } => {
            web_sys::console::error_1(&format!("live: {problem}").into());
        }
    }
    Ok(())
}
