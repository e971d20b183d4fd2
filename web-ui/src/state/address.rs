//! Addresses: percent-encoding, and the query strings that hold what a colleague should see when given a link.

use std::fmt;

/// Escapes a text so that it is one segment of a path; channel names may hold slashes, blanks and any script.
pub fn encode_segment(text: &str) -> String {
    encode(text, b"-_.~")
}

fn encode(text: &str, kept: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || kept.contains(&byte) {
            out.push(byte as char);
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// Undoes the escapes of a query: `+` is a blank, an escape that is none stays as it is.
pub fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let digit = |at: usize| bytes.get(at).and_then(|byte| (*byte as char).to_digit(16));
        match (bytes[at], digit(at + 1).zip(digit(at + 2))) {
            (b'%', Some((high, low))) => {
                out.push((high * 16 + low) as u8);
                at += 2;
            }
            (b'+', _) => out.push(b' '),
            (byte, _) => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// The keys and values after the `?` of an address, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads a query string, with or without its `?`.
    pub fn parse(text: &str) -> Self {
        let pairs = text.strip_prefix('?').unwrap_or(text).split('&').filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
                .map(|(key, value)| (decode(key), decode(value)))
                .collect(),
        )
    }

    /// The first value of a key; an empty one counts as absent.
    pub fn find(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(k, v)| k == key && !v.is_empty()).map(|(_, v)| v.as_str())
    }

    /// All values of a key that may occur more than once.
    pub fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    /// The same without some keys and values.
    pub fn without(&self, dropped: impl Fn(&str, &str) -> bool) -> Self {
        Self(self.0.iter().filter(|(key, value)| !dropped(key, value)).cloned().collect())
    }

    /// The values of a comma-separated key that this type understands; others are left out.
    pub fn list<T: std::str::FromStr>(&self, key: &str) -> Vec<T> {
        let values = self.find(key).unwrap_or_default();
        values.split(',').filter_map(|word| word.trim().parse().ok()).collect()
    }

    /// Sets a key, in its old place if it has one; an empty value removes it.
    pub fn set(mut self, key: &str, value: impl fmt::Display) -> Self {
        let value = value.to_string();
        match self.0.iter().position(|(k, _)| k == key) {
            _ if value.is_empty() => self.0.retain(|(k, _)| k != key),
            Some(at) => self.0[at].1 = value,
            None => self.0.push((key.into(), value)),
        }
        self
    }

    /// Adds a value of a key that may occur more than once.
    pub fn add(mut self, key: &str, value: impl fmt::Display) -> Self {
        self.0.push((key.into(), value.to_string()));
        self
    }
}

impl fmt::Display for Query {
    /// Without `?`; characters that are harmless in a query stay readable.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (key, value)) in self.0.iter().enumerate() {
            let separator = if at == 0 { "" } else { "&" };
            write!(f, "{separator}{}={}", encode_segment(key), encode(value, b"-_.~/:,"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_comes_back() {
        for text in ["", "search=big%20model&states=running,failed", "q=train/loss", "zoom=a~1~2&x=%C3%A4"] {
            assert_eq!(Query::parse(text).to_string(), text);
        }
    }

    #[test]
    fn any_value_survives() {
        for value in ["a&b=c", "100 %", "ä/日本", "+", "%zz", "a,b"] {
            let text = Query::default().set("k", value).to_string();
            assert_eq!(Query::parse(&text).find("k"), Some(value), "{text}");
        }
    }

    #[test]
    fn damaged_escapes_are_left_as_they_are() {
        assert_eq!(decode("%"), "%");
        assert_eq!(decode("%4"), "%4");
        assert_eq!(decode("%+1"), "% 1");
        assert_eq!(decode("a%ä"), "a%ä");
        assert_eq!(decode("a+b"), "a b");
    }

    #[test]
    fn setting_nothing_removes() {
        let query = Query::parse("?a=1&b=2").set("a", "").set("b", 3);
        assert_eq!(query.to_string(), "b=3");
    }

    #[test]
    fn a_segment_never_breaks_a_path() {
        assert_eq!(encode_segment("train/loss (%)"), "train%2Floss%20%28%25%29");
    }
}
