//! What the daemon decides about this face: which hosts it answers for, who needs a token, whom it believes.

use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use axum::http::uri::Authority;

/// The settings of one server.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Names under which people reach this server, beside the loopback names and the addresses it listens on.
    pub public_hosts: Vec<PublicHost>,
    /// Requests from this machine need no token. Only ever true where the server listens on loopback alone.
    pub open_on_loopback: bool,
    /// Proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed. With any, nothing is open without a token.
    pub trusted_proxies: Vec<Network>,
    /// Certificate and key; plain HTTP without.
    pub tls: Option<TlsFiles>,
    /// What `GET /api/v1/server` and `/metrics` say.
    pub version: &'static str,
}

/// PEM files of a certificate chain and its private key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's certificate first.
    pub certificate: PathBuf,
    /// PKCS#8, PKCS#1 or SEC1.
    pub key: PathBuf,
}

/// A host name, perhaps with a port: `neptune.example.com`, `neptune.example.com:8443`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicHost {
    /// Lower case.
    pub name: String,
    /// Any port when absent.
    pub port: Option<u16>,
}

impl FromStr for PublicHost {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} must be a host name, perhaps with a port: neptune.example.com:8443");
        let plain = |c: char| c.is_ascii_alphanumeric() || "-.:[]".contains(c);
        let authority: Authority = text.parse().map_err(|_| wrong())?;
        let (name, port) = (authority.host(), authority.port_u16());
        let rest = authority.as_str().strip_prefix(name).ok_or_else(wrong)?;
        if name.is_empty() || !name.chars().all(plain) || rest.is_empty() != port.is_none() {
            return Err(wrong());
        }
        Ok(Self { name: name.to_ascii_lowercase(), port })
    }
}

/// A range of addresses: `10.0.0.0/8`, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u32,
}

impl Network {
    /// Whether the address lies in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        let same = |left: u128, right: u128, width: u32| {
            let rest = width - self.prefix;
            self.prefix == 0 || (left >> rest) == (right >> rest)
        };
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => same(own.to_bits().into(), other.to_bits().into(), 32),
            (IpAddr::V6(own), IpAddr::V6(other)) => same(own.to_bits(), other.to_bits(), 128),
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} must be an address or a range such as 10.0.0.0/8");
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Ok(width), str::parse::<u32>).map_err(|_| wrong())?;
        if prefix > width {
            return Err(wrong());
        }
        Ok(Self { address, prefix })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_hold_their_addresses() {
        let holds = |network: &str, address: &str| {
            network.parse::<Network>().unwrap().contains(address.parse().unwrap())
        };
        assert!(holds("10.0.0.0/8", "10.255.0.1"));
        assert!(!holds("10.0.0.0/8", "11.0.0.1"));
        assert!(holds("192.168.1.7", "192.168.1.7"));
        assert!(!holds("192.168.1.7", "192.168.1.8"));
        assert!(holds("0.0.0.0/0", "1.2.3.4"));
        assert!(!holds("0.0.0.0/0", "::1"));
        assert!(holds("fd00::/8", "fd12::1"));
        assert!(holds("127.0.0.1", "::ffff:127.0.0.1"));
        for wrong in ["", "10.0.0.0/33", "host", "10.0.0.0/x", "10.0.0/8"] {
            assert!(wrong.parse::<Network>().unwrap_err().contains("10.0.0.0/8"), "{wrong}");
        }
    }

    #[test]
    fn public_hosts_have_names_and_perhaps_ports() {
        let host: PublicHost = "Neptune.Example.com:8443".parse().unwrap();
        assert_eq!(host, PublicHost { name: "neptune.example.com".into(), port: Some(8443) });
        for wrong in [
            "",
            "https://a.example",
            "a.example/x",
            "a.example:99999",
            "u@a.example",
            "a,b",
            "a b",
            "*.example",
        ] {
            assert!(wrong.parse::<PublicHost>().is_err(), "{wrong}");
        }
    }
}
