//! From a request to a grant: bearer token, cookie, or nothing at all on an open loopback.

use std::sync::Arc;

use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use neptune_engine::{Access, Grant, Refused};
use neptune_wire::server::{AccessKind, Login};

use crate::extract::Json;
use crate::face::Shared;
use crate::failure::Failure;
use crate::peer::Peer;

/// Name of the cookie; under TLS with the prefix by which browsers promise that no other site and no plain HTTP set it.
const COOKIE: &str = "neptune";
const SECURE_COOKIE: &str = "__Host-neptune";

/// What the request may do.
pub(crate) struct Granted(pub(crate) Grant);

impl FromRequestParts<Arc<Shared>> for Granted {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, face: &Arc<Shared>) -> Result<Self, Failure> {
        let peer = *parts.extensions.get::<Peer>().expect("the guard puts it into every request");
        let access = access_of(face, peer, &parts.headers)?;
        Ok(Self(face.engine.access(access).await?))
    }
}

/// How a request came in. A token in the header counts everywhere; an open loopback ignores cookies, which other servers
/// on this machine may have set: cookies do not tell ports apart.
fn access_of<'a>(face: &Shared, peer: Peer, headers: &'a HeaderMap) -> Result<Access<'a>, Failure> {
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let token = value.to_str().ok().and_then(bearer);
        let wanted = || "must be \"Bearer TOKEN\"".to_owned();
        return token
            .map(Access::Token)
            .ok_or_else(|| Failure::Header { field: "authorization", wanted: wanted() });
    }
    if face.settings.is_open_to(peer) {
        return Ok(Access::OpenLoopback);
    }
    let name = if peer.encrypted { SECURE_COOKIE } else { COOKIE };
    cookie(headers, name).map(Access::Token).ok_or(Failure::Engine(Refused::Unauthorized))
}

impl crate::Settings {
    /// Whether requests need no token at all.
    fn is_open(&self) -> bool {
        self.open_on_loopback && self.trusted_proxies.is_empty()
    }

    fn is_open_to(&self, peer: Peer) -> bool {
        self.is_open() && peer.loopback
    }

    /// What `GET /api/v1/server` says.
    pub(crate) fn access_kind(&self) -> AccessKind {
        if self.is_open() { AccessKind::Open } else { AccessKind::Token }
    }
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim()).filter(|token| !token.is_empty())
}

fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value).filter(|value| !value.is_empty())
}

/// Turns a token into the cookie that the page is used with.
#[utoipa::path(post, path = "/api/v1/login", tag = "server", security(()), request_body = Login, responses(
    (status = 204, description = "signed in; the answer sets the cookie"),
    (status = 401, response = inline(crate::openapi::ProblemAnswer)),
))]
pub(crate) async fn login(
    State(face): State<Arc<Shared>>,
    peer: axum::Extension<Peer>,
    Json(login): Json<Login>,
) -> Result<Response, Failure> {
    let token = login.token.trim();
    face.engine.access(Access::Token(token)).await?;
    Ok(cookie_response(*peer, token, 365 * 24 * 3600))
}

/// Forgets the cookie.
#[utoipa::path(post, path = "/api/v1/logout", tag = "server", security(()), responses(
    (status = 204, description = "signed out; the answer removes the cookie"),
))]
pub(crate) async fn logout(peer: axum::Extension<Peer>) -> Response {
    cookie_response(*peer, "", 0)
}

fn cookie_response(peer: Peer, value: &str, seconds: u32) -> Response {
    let (name, secure) = if peer.encrypted { (SECURE_COOKIE, "; Secure") } else { (COOKIE, "") };
    let cookie = format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}");
    // A token that passed the engine is plain text; anything else sets no cookie.
    match HeaderValue::from_str(&cookie) {
        Ok(cookie) => (StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response(),
        Err(_) => Failure::Engine(Refused::Unauthorized).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_from_headers_and_cookies() {
        assert_eq!(bearer("Bearer abc"), Some("abc"));
        assert_eq!(bearer("bearer  abc "), Some("abc"));
        assert_eq!(bearer("Basic abc"), None);
        assert_eq!(bearer("Bearer "), None);

        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, "a=b; neptune=t0k".parse().unwrap());
        headers.append(header::COOKIE, "other=1;__Host-neptune=s3c".parse().unwrap());
        assert_eq!(cookie(&headers, COOKIE), Some("t0k"));
        assert_eq!(cookie(&headers, SECURE_COOKIE), Some("s3c"));
        assert_eq!(cookie(&headers, "missing"), None);
    }
}
