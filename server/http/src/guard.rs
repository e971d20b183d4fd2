//! The door: which requests are looked at at all, and the headers that every answer carries.
//!
//! Open on loopback does not mean open to every page a browser shows. A page of another site reaches a local server in
//! two ways: under a name of its own that resolves to 127.0.0.1 (DNS rebinding, seen in `Host`), or by a request across
//! sites (seen in `Origin`, and kept from being a plain form by what a change must carry).

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use neptune_wire::server::CLIENT_HEADER;

use crate::face::Shared;
use crate::failure::Failure;
use crate::peer::{Connection, Peer};
use crate::settings::{PublicHost, Settings};

/// What the page may do: its own scripts, styles and WebAssembly, and nothing from anywhere else.
pub(crate) const PAGE_POLICY: &str = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; \
    img-src 'self' blob: data:; connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'self'; \
    frame-ancestors 'none'";
/// What a downloaded file may do if a browser shows it after all: nothing.
pub(crate) const SANDBOX_POLICY: &str = "default-src 'none'; sandbox";

/// Headers of every answer that does not set them itself. No `Strict-Transport-Security`: it would bind every port of
/// the host name, other programs' on localhost among them; a proxy in front knows better.
const HEADERS: [(HeaderName, &str); 9] = [
    (header::CONTENT_SECURITY_POLICY, PAGE_POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-embedder-policy"), "require-corp"),
    (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=()"),
];

/// Middleware: refuses foreign requests, tells handlers who asks, dresses the answer.
pub(crate) async fn guard(State(face): State<Arc<Shared>>, mut request: Request, next: Next) -> Response {
    let mut response = match admit(&face.settings, &request) {
        Ok(peer) => {
            request.extensions_mut().insert(peer);
            next.run(request).await
        }
        Err(failure) => failure.into_response(),
    };
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

fn admit(settings: &Settings, request: &Request) -> Result<Peer, Failure> {
    let connection =
        request.extensions().get::<Connection>().expect("the accept loop puts it into every request");
    let headers = request.headers();
    let peer = Peer::new(connection, headers, settings);

    let probe = matches!(request.uri().path(), "/health" | "/ready");
    let behind_proxy = !settings.trusted_proxies.is_empty() && settings.tls.is_none();
    if behind_proxy && !peer.proxied && !peer.loopback && !probe {
        return Err(Failure::NotThroughProxy);
    }

    let host = asked_host(request.uri(), headers)?;
    if !answers_for(settings, connection, &host) {
        return Err(Failure::ForeignHost { host: host.to_string() });
    }
    if let Some(origin) = headers.get(header::ORIGIN) {
        let text = origin.to_str().unwrap_or("?");
        if !is_own_origin(settings, peer.encrypted, &host, text) {
            return Err(Failure::ForeignOrigin { origin: text.to_owned() });
        }
    }
    let safe = [Method::GET, Method::HEAD, Method::OPTIONS].contains(request.method());
    if !safe && !is_deliberate(headers) {
        return Err(Failure::MediaType);
    }
    Ok(peer)
}

/// The host a request asks: HTTP/2 says it in the address, HTTP/1.1 in a header.
fn asked_host(uri: &Uri, headers: &HeaderMap) -> Result<Authority, Failure> {
    if let Some(authority) = uri.authority() {
        return Ok(authority.clone());
    }
    let wrong = |wanted: String| Failure::Header { field: "host", wanted };
    let mut lines = headers.get_all(header::HOST).iter();
    let line = lines.next().ok_or_else(|| wrong("the header host is missing".into()))?;
    if lines.next().is_some() {
        return Err(wrong("the header host must be there once".into()));
    }
    let text = line.to_str().map_err(|_| wrong("the header host must be plain text".into()))?;
    text.parse().map_err(|_| {
        wrong(format!("the header host is {text:?}, it must be a host name, perhaps with a port"))
    })
}

/// Whether a host is this server's: a loopback name, the address that was reached, or a configured name.
///
/// An address cannot be rebound; only a name can.
fn answers_for(settings: &Settings, connection: &Connection, host: &Authority) -> bool {
    let name = host.host().to_ascii_lowercase();
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(&name);
    match bare.parse::<IpAddr>() {
        Ok(address) if address.is_loopback() => true,
        Ok(address) if address.to_canonical() == connection.local.ip().to_canonical() => true,
        Err(_) if name == "localhost" => true,
        _ => settings.public_hosts.iter().any(|public| is_public(public, &name, host.port_u16())),
    }
}

fn is_public(public: &PublicHost, name: &str, port: Option<u16>) -> bool {
    public.name == name && (public.port.is_none() || public.port == port)
}

/// Whether a page's origin is this server itself: the host that was asked, or a configured name that a proxy rewrote.
///
/// Where the client's connection is encrypted, a page that came in the clear is not this server's: anyone on the way may
/// have written it. The other way round it may be: not every proxy that ends TLS says so.
fn is_own_origin(settings: &Settings, encrypted: bool, host: &Authority, origin: &str) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    let default_port = match scheme {
        "http" if !encrypted => 80,
        "https" => 443,
        _ => return false,
    };
    let Ok(authority) = authority.parse::<Authority>() else { return false };
    let name = authority.host().to_ascii_lowercase();
    let port = authority.port_u16().unwrap_or(default_port);
    let asked_port = host.port_u16().unwrap_or(if encrypted { 443 } else { 80 });
    let asked = (host.host().to_ascii_lowercase(), asked_port);
    let public = |public: &PublicHost| public.name == name && public.port.unwrap_or(default_port) == port;
    (name.as_str(), port) == (asked.0.as_str(), asked.1) || settings.public_hosts.iter().any(public)
}

/// Whether a change was sent by a program or by a page's script: a plain form can do neither of these.
fn is_deliberate(headers: &HeaderMap) -> bool {
    if headers.contains_key(CLIENT_HEADER) {
        return true;
    }
    let Some(Ok(content_type)) = headers.get(header::CONTENT_TYPE).map(|value| value.to_str()) else {
        return false;
    };
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    ["application/json", "application/octet-stream"].iter().any(|wanted| essence.eq_ignore_ascii_case(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use expect_test::{Expect, expect};

    fn check(settings: &Settings, local: &str, request: axum::http::request::Builder, expected: Expect) {
        check_over(false, settings, local, request, expected);
    }

    fn check_over(
        encrypted: bool,
        settings: &Settings,
        local: &str,
        request: axum::http::request::Builder,
        expected: Expect,
    ) {
        let connection =
            Connection { remote: "127.0.0.1:9".parse().unwrap(), local: local.parse().unwrap(), encrypted };
        let request = request.extension(connection).body(Body::empty()).unwrap();
        let found = match admit(settings, &request) {
            Ok(_) => "admitted".to_owned(),
            Err(failure) => failure.problem().code.as_str().to_owned(),
        };
        expected.assert_eq(&found);
    }

    fn host(host: &str) -> axum::http::request::Builder {
        Request::get("/").header("host", host)
    }

    #[test]
    fn only_own_names_are_answered() {
        let open = Settings::default();
        for own in ["localhost", "localhost:8420", "127.0.0.1:1", "[::1]:8420", "LOCALHOST", "127.8.0.1"] {
            check(&open, "127.0.0.1:8420", host(own), expect!["admitted"]);
        }
        for foreign in ["evil.example", "localhost.evil.example:8420", "10.0.0.1:8420", "127.0.0.1.nip.io"] {
            check(&open, "127.0.0.1:8420", host(foreign), expect!["foreign-host"]);
        }
        check(&open, "10.0.0.1:8420", host("10.0.0.1:8420"), expect!["admitted"]);
        check(&open, "127.0.0.1:8420", Request::get("/"), expect!["invalid-field"]);
        check(
            &open,
            "127.0.0.1:8420",
            host("localhost").header("host", "localhost"),
            expect!["invalid-field"],
        );
        check(&open, "127.0.0.1:8420", host("a b"), expect!["invalid-field"]);

        let public_hosts =
            vec!["neptune.example.com".parse().unwrap(), "b.example.com:8443".parse().unwrap()];
        let public = Settings { public_hosts, ..Settings::default() };
        check(&public, "10.0.0.1:8420", host("neptune.example.com"), expect!["admitted"]);
        check(&public, "10.0.0.1:8420", host("Neptune.Example.com:443"), expect!["admitted"]);
        check(&public, "10.0.0.1:8420", host("b.example.com:8443"), expect!["admitted"]);
        check(&public, "10.0.0.1:8420", host("b.example.com:80"), expect!["foreign-host"]);
    }

    #[test]
    fn only_own_pages_are_answered() {
        let open = Settings::default();
        let from = |origin: &str| host("localhost:8420").header("origin", origin);
        check(&open, "127.0.0.1:8420", from("http://localhost:8420"), expect!["admitted"]);
        for foreign in [
            "http://localhost:3000",
            "http://127.0.0.1:8420",
            "https://evil.example",
            "null",
            "http://localhost",
            "file://",
            "chrome-extension://localhost:8420",
        ] {
            check(&open, "127.0.0.1:8420", from(foreign), expect!["foreign-origin"]);
        }
        let bare = |origin: &str| host("localhost").header("origin", origin);
        check(&open, "127.0.0.1:80", bare("http://localhost"), expect!["admitted"]);
        check(&open, "127.0.0.1:80", bare("http://localhost:80"), expect!["admitted"]);

        check(&open, "127.0.0.1:80", bare("https://localhost"), expect!["foreign-origin"]);
        check(&open, "127.0.0.1:80", from("https://localhost:8420"), expect!["admitted"]);

        let public = Settings { public_hosts: vec!["n.example.com".parse().unwrap()], ..Settings::default() };
        check(&public, "127.0.0.1:8420", from("https://n.example.com"), expect!["admitted"]);
        check(&public, "127.0.0.1:8420", from("https://n.example.com:444"), expect!["foreign-origin"]);
    }

    #[test]
    fn a_page_in_the_clear_is_not_a_page_of_an_encrypted_server() {
        let public_hosts = vec!["n.example.com".parse().unwrap()];
        let settings = Settings { public_hosts, ..Settings::default() };
        let from = |asked: &str, origin: &str| host(asked).header("origin", origin);
        let secure = |asked: &str, origin: &str, expected: Expect| {
            check_over(true, &settings, "127.0.0.1:443", from(asked, origin), expected);
        };
        for asked in ["localhost", "localhost:443", "n.example.com"] {
            let name = asked.trim_end_matches(":443");
            secure(asked, &format!("https://{name}"), expect!["admitted"]);
            secure(asked, &format!("https://{name}:443"), expect!["admitted"]);
            secure(asked, &format!("http://{name}"), expect!["foreign-origin"]);
            secure(asked, &format!("http://{name}:443"), expect!["foreign-origin"]);
        }

        // A proxy's word on its client's connection counts as much.
        let proxied = Settings { trusted_proxies: vec!["127.0.0.1".parse().unwrap()], ..Settings::default() };
        let told = |origin: &str| from("localhost", origin).header("x-forwarded-proto", "https");
        check(&proxied, "127.0.0.1:80", told("https://localhost"), expect!["admitted"]);
        check(&proxied, "127.0.0.1:80", told("http://localhost"), expect!["foreign-origin"]);
    }

    #[test]
    fn a_change_is_deliberate() {
        let open = Settings::default();
        let post = || Request::post("/").header("host", "localhost");
        check(&open, "127.0.0.1:8420", post(), expect!["unsupported-media-type"]);
        for form in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"] {
            let request = post().header("content-type", form);
            check(&open, "127.0.0.1:8420", request, expect!["unsupported-media-type"]);
        }
        for fine in ["application/json", "Application/JSON; charset=utf-8", "application/octet-stream"] {
            check(&open, "127.0.0.1:8420", post().header("content-type", fine), expect!["admitted"]);
        }
        check(&open, "127.0.0.1:8420", post().header("neptune-client", "curl"), expect!["admitted"]);
    }

    #[test]
    fn behind_a_proxy_nobody_else_comes_in() {
        let settings = Settings { trusted_proxies: vec!["10.0.0.1".parse().unwrap()], ..Settings::default() };
        let admitted = |remote: &str, path: &str| {
            let connection = Connection {
                remote: remote.parse().unwrap(),
                local: "10.0.0.5:80".parse().unwrap(),
                encrypted: false,
            };
            let request = Request::get(path).header("host", "10.0.0.5").extension(connection);
            admit(&settings, &request.body(Body::empty()).unwrap()).is_ok()
        };
        assert!(admitted("10.0.0.1:9", "/"));
        assert!(admitted("127.0.0.1:9", "/"));
        assert!(!admitted("10.0.0.9:9", "/"));
        assert!(admitted("10.0.0.9:9", "/ready"));
    }
}
