//! Requests to `/api/v1`: what was asked, or why not in words for a person.

use std::fmt;
use std::rc::Rc;

use js_sys::{ArrayBuffer, Uint8Array};
use neptune_wire::Problem;
use neptune_wire::columns::{self, COLUMNS, Table};
use neptune_wire::problem::Code;
use neptune_wire::server::{API, CLIENT_HEADER};
use serde::Serialize;
use serde::de::DeserializeOwned;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{AbortSignal, RequestInit, Response};
use yew::Callback;

use super::clock;

/// The longest a request may take; an answer that takes longer is asked for again by a person.
const TIMEOUT_MILLIS: u32 = 30_000;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Failure {
    /// No server answered.
    Unreachable,
    /// The server refused, and says why.
    Refused(Problem),
    /// The server answered something that is not in the contract.
    Damaged(String),
}

impl Failure {
    /// Whether the server has no such thing.
    pub fn is_unknown(&self) -> bool {
        matches!(self, Self::Refused(problem) if problem.status == 404)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable => f.write_str("the server does not answer"),
            Self::Refused(problem) if problem.detail.is_empty() => f.write_str(&problem.title),
            Self::Refused(problem) => f.write_str(&problem.detail),
            Self::Damaged(what) => write!(f, "the server's answer is not understood: {what}"),
        }
    }
}

/// The way to the server; cheap to clone.
#[derive(Clone)]
pub struct Api(Rc<Callback<()>>);

impl PartialEq for Api {
    fn eq(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}

impl Api {
    /// `signed_out` is called when the server answers that one must sign in.
    pub fn new(signed_out: Callback<()>) -> Self {
        Self(Rc::new(signed_out))
    }

    /// Asks for JSON; `path` is what follows `/api/v1`.
    ///
    /// # Errors
    ///
    /// [`Failure`], for a person to read.
    pub async fn read<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let response = self.send("GET", path, "application/json", None).await?;
        json(&response).await
    }

    /// Asks for columns of numbers.
    ///
    /// # Errors
    ///
    /// [`Failure`], for a person to read.
    pub async fn read_columns(&self, path: &str) -> Result<Vec<Table>, Failure> {
        let response = self.send("GET", path, COLUMNS, None).await?;
        let buffer = response.array_buffer().map_err(|_| Failure::Unreachable)?;
        let buffer = JsFuture::from(buffer).await.map_err(|_| Failure::Unreachable)?;
        let bytes = Uint8Array::new(buffer.unchecked_ref::<ArrayBuffer>()).to_vec();
        columns::decode(&bytes).map_err(|error| Failure::Damaged(error.to_string()))
    }

    /// Changes something.
    ///
    /// # Errors
    ///
    /// [`Failure`], for a person to read.
    pub async fn post(&self, path: &str, body: &impl Serialize) -> Result<Response, Failure> {
        let body = serde_json::to_string(body).map_err(|error| Failure::Damaged(error.to_string()))?;
        self.send("POST", path, "application/json", Some(&body)).await
    }

    /// Changes something and reads what became of it.
    ///
    /// # Errors
    ///
    /// [`Failure`], for a person to read.
    pub async fn post_for<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Failure> {
        json(&self.post(path, body).await?).await
    }

    async fn send(
        &self,
        method: &str,
        path: &str,
        accept: &str,
        body: Option<&str>,
    ) -> Result<Response, Failure> {
        let init = RequestInit::new();
        init.set_method(method);
        init.set_signal(Some(&AbortSignal::timeout_with_u32(TIMEOUT_MILLIS)));
        let headers = web_sys::Headers::new().map_err(damaged)?;
        headers.set("Accept", accept).map_err(damaged)?;
        headers.set(CLIENT_HEADER, "web-ui").map_err(damaged)?;
        if let Some(body) = body {
            headers.set("Content-Type", "application/json").map_err(damaged)?;
            init.set_body(&JsValue::from_str(body));
        }
        init.set_headers(&headers);
        let window = web_sys::window().ok_or_else(|| Failure::Damaged("no window".into()))?;
        let answer = JsFuture::from(window.fetch_with_str_and_init(&format!("{API}{path}"), &init)).await;
        let response: Response = answer.map_err(|_| Failure::Unreachable)?.unchecked_into();
        if let Ok(Some(date)) = response.headers().get("Date") {
            clock::learn(&date);
        }
        if response.ok() { Ok(response) } else { Err(self.refusal(&response).await) }
    }

    async fn refusal(&self, response: &Response) -> Failure {
        if response.status() == 401 {
            self.0.emit(());
        }
        match json::<Problem>(response).await {
            Ok(problem) => Failure::Refused(Problem { status: response.status(), ..problem }),
            // A proxy in between answers in its own words.
            Err(_) => {
                let detail = format!("HTTP status {} {}", response.status(), response.status_text());
                Failure::Refused(Problem { status: response.status(), ..Problem::new(Code::Unknown, detail) })
            }
        }
    }
}

async fn json<T: DeserializeOwned>(response: &Response) -> Result<T, Failure> {
    let text = response.text().map_err(|_| Failure::Unreachable)?;
    let text = JsFuture::from(text).await.map_err(|_| Failure::Unreachable)?;
    let text = text.as_string().unwrap_or_default();
    serde_json::from_str(&text).map_err(|error| Failure::Damaged(error.to_string()))
}

fn damaged(error: JsValue) -> Failure {
    Failure::Damaged(format!("{error:?}"))
}
