//! The least HTTP client that keeps its connection: what a row times is the server, not a client's layers. It asks for what
//! the client crate has no method for, too.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

/// Longest answer; a page of jobs is far below.
const ANSWER_BYTES: u64 = 256 << 20;
/// A server that says nothing for so long hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// One kept connection.
pub(crate) struct Http {
    stream: BufReader<TcpStream>,
    host: String,
}

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Such as 200.
    pub status: u16,
    /// All of it.
    pub body: Vec<u8>,
}

impl Http {
    /// Connects to `http://HOST:PORT`.
    pub(crate) fn connect(url: &str) -> Result<Self> {
        let host = url.strip_prefix("http://").context("the address of a test server begins with http://")?;
        let stream = TcpStream::connect(host).with_context(|| format!("connect to {host}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream: BufReader::new(stream), host: host.to_owned() })
    }

    /// Asks and waits for the whole answer.
    pub(crate) fn fetch(&mut self, path: &str) -> Result<Answer> {
        self.fetch_as(path, "*/*")
    }

    /// The same, for an answer of this media type.
    pub(crate) fn fetch_as(&mut self, path: &str, accept: &str) -> Result<Answer> {
        let host = &self.host;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: {accept}\r\n\r\n");
        self.stream.get_mut().write_all(request.as_bytes())?;
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.with_context(|| format!("{line:?} is no answer"))?;
        let (mut length, mut chunked) = (0, false);
        loop {
            let mut line = String::new();
            ensure!(self.stream.read_line(&mut line)? > 0, "the answer ends in its head");
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.trim().parse()?,
                "transfer-encoding" => chunked = value.trim() == "chunked",
                _ => {}
            }
        }
        let body = if chunked { self.chunks()? } else { self.bytes(length)? };
        Ok(Answer { status, body })
    }

    fn bytes(&mut self, length: u64) -> Result<Vec<u8>> {
        ensure!(length <= ANSWER_BYTES, "an answer of {length} bytes");
        let mut body = vec![0; length as usize];
        self.stream.read_exact(&mut body)?;
        Ok(body)
    }

    fn chunks(&mut self) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line)?;
            let length =
                u64::from_str_radix(line.trim_end(), 16).with_context(|| format!("chunk {line:?}"))?;
            body.extend(self.bytes(length)?);
            if body.len() as u64 > ANSWER_BYTES {
                bail!("an answer of more than {ANSWER_BYTES} bytes");
            }
            self.stream.read_line(&mut String::new())?;
            if length == 0 {
                return Ok(body);
            }
        }
    }
}

impl Answer {
    /// The body of a 200, as text.
    pub(crate) fn text(self) -> Result<String> {
        let text = String::from_utf8_lossy(&self.body).into_owned();
        ensure!(self.status == 200, "status {}: {text}", self.status);
        Ok(text)
    }
}

/// A value as it stands in a query.
pub(crate) fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(byte.into()),
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

/// A gauge of `/metrics`; None if the server has none of that name.
pub(crate) fn gauge(exposition: &str, name: &str) -> Option<f64> {
    let value = exposition.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    value.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer_with(text: &'static str) -> Result<Answer> {
        let door = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", door.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let (mut stream, _) = door.accept().unwrap();
            let mut head = BufReader::new(stream.try_clone().unwrap());
            let mut line = String::new();
            while head.read_line(&mut line).unwrap() > 2 {
                line.clear();
            }
            stream.write_all(text.as_bytes()).unwrap();
        });
        let answer = Http::connect(&url).unwrap().fetch("/x");
        server.join().unwrap();
        answer
    }

    #[test]
    fn answers_come_whole_or_in_chunks() {
        let plain = answer_with("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc").unwrap();
        assert_eq!(plain.text().unwrap(), "abc");
        let chunked =
            "HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
        let chunked = answer_with(chunked).unwrap();
        assert_eq!((chunked.status, chunked.body.as_slice()), (404, b"abcde".as_slice()));
        assert!(chunked.text().unwrap_err().to_string().contains("404"));
        assert!(answer_with("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nabc").is_err());
        assert!(answer_with("nothing of the kind").is_err());
    }

    #[test]
    fn a_gauge_is_found_by_its_whole_name() {
        let text = "# TYPE a gauge\na_b 7\na 3.5\n";
        assert_eq!(gauge(text, "a"), Some(3.5));
        assert_eq!(gauge(text, "a_b"), Some(7.0));
        assert_eq!(gauge(text, "b"), None);
    }

    #[test]
    fn a_filter_can_stand_in_an_address() {
        assert_eq!(encoded("a < 0.5 & ü"), "a%20%3C%200.5%20%26%20%C3%BC");
    }
}
