//! Who is at the other end of a connection, and who they say they speak for.

use std::net::{IpAddr, SocketAddr};

use axum::http::HeaderMap;

use crate::settings::Settings;

/// The two ends of a connection; the accept loop puts it into every request.
#[derive(Debug, Clone, Copy)]
pub struct Connection {
    /// The other end.
    pub remote: SocketAddr,
    /// This end: the address the peer reached.
    pub local: SocketAddr,
    /// TLS ends here.
    pub encrypted: bool,
}

/// The client a request comes from, as far as the server believes it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer {
    /// The client's address; behind a trusted proxy the one the proxy names.
    pub(crate) address: IpAddr,
    /// The connection itself comes from this machine.
    pub(crate) loopback: bool,
    /// It came through a trusted proxy.
    pub(crate) proxied: bool,
    /// The client's own connection is encrypted.
    pub(crate) encrypted: bool,
}

impl Peer {
    pub(crate) fn new(connection: &Connection, headers: &HeaderMap, settings: &Settings) -> Self {
        let remote = connection.remote.ip().to_canonical();
        let trusts =
            |address: IpAddr| settings.trusted_proxies.iter().any(|network| network.contains(address));
        let loopback = remote.is_loopback();
        if !trusts(remote) {
            return Self { address: remote, loopback, proxied: false, encrypted: connection.encrypted };
        }
        let encrypted = connection.encrypted || last_value(headers, "x-forwarded-proto") == Some("https");
        Self { address: forwarded_for(headers, trusts).unwrap_or(remote), loopback, proxied: true, encrypted }
    }
}

/// The last address in `X-Forwarded-For` that no trusted proxy has: what stands before it, anyone may have written.
fn forwarded_for(headers: &HeaderMap, trusts: impl Fn(IpAddr) -> bool) -> Option<IpAddr> {
    let lines = headers.get_all("x-forwarded-for");
    let texts: Vec<&str> = lines.iter().filter_map(|line| line.to_str().ok()).collect();
    let addresses = texts.iter().rev().flat_map(|line| line.rsplit(','));
    for address in addresses {
        let address = address.trim().parse::<IpAddr>().ok()?.to_canonical();
        if !trusts(address) {
            return Some(address);
        }
    }
    None
}

fn last_value<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let line = headers.get_all(name).iter().next_back()?.to_str().ok()?;
    line.rsplit(',').next().map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(remote: &str, forwarded: &[&str], proxies: &[&str]) -> Peer {
        let connection = Connection {
            remote: SocketAddr::new(remote.parse().unwrap(), 1),
            local: "127.0.0.1:8420".parse().unwrap(),
            encrypted: false,
        };
        let mut headers = HeaderMap::new();
        for line in forwarded {
            headers.append("x-forwarded-for", line.parse().unwrap());
        }
        headers.insert("x-forwarded-proto", "https".parse().unwrap());
        let trusted_proxies = proxies.iter().map(|text| text.parse().unwrap()).collect();
        Peer::new(&connection, &headers, &Settings { trusted_proxies, ..Settings::default() })
    }

    #[test]
    fn only_a_trusted_proxy_speaks_for_others() {
        let stranger = peer("10.0.0.9", &["1.2.3.4"], &["127.0.0.1"]);
        assert_eq!((stranger.address.to_string().as_str(), stranger.proxied), ("10.0.0.9", false));
        assert!(!stranger.encrypted);

        let client = peer("127.0.0.1", &["6.6.6.6, 1.2.3.4"], &["127.0.0.1"]);
        assert_eq!((client.address.to_string().as_str(), client.proxied), ("1.2.3.4", true));
        assert!(client.encrypted);
    }

    #[test]
    fn a_chain_of_proxies_is_followed_only_as_far_as_it_is_trusted() {
        let client = peer("10.0.0.1", &["6.6.6.6, 1.2.3.4", "10.0.0.2"], &["10.0.0.0/8"]);
        assert_eq!(client.address.to_string(), "1.2.3.4");
        let nobody = peer("10.0.0.1", &[], &["10.0.0.0/8"]);
        assert_eq!(nobody.address.to_string(), "10.0.0.1");
    }
}
