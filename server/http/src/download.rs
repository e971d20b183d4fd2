//! Files as downloads: never shown, never guessed at, in a sandbox if a browser shows them after all.

use std::ops::Range;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::Stream;

use crate::failure::Failure;
use crate::guard::SANDBOX_POLICY;

/// An answer that a browser saves under a name.
pub(crate) fn attachment<S>(name: &str, content_type: &'static str, bytes: S) -> Response
where
    S: Stream<Item = std::io::Result<Bytes>> + Send + 'static,
{
    let mut response = Body::from_stream(bytes).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(SANDBOX_POLICY));
    headers.insert(header::CONTENT_DISPOSITION, disposition(name));
    response
}

/// RFC 6266: a plain name for old programs, the true one in UTF-8.
fn disposition(name: &str) -> HeaderValue {
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let plain: String = name.chars().map(|c| if fits(c) { c } else { '_' }).collect();
    let mut encoded = String::new();
    for byte in name.bytes() {
        if fits(byte as char) {
            encoded.push(byte as char);
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    let value = format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}");
    HeaderValue::from_str(&value).unwrap_or(HeaderValue::from_static("attachment"))
}

/// A strong tag for content that its digest names.
pub(crate) fn etag_of(digest: &neptune_wire::Digest) -> HeaderValue {
    HeaderValue::from_str(&format!("\"{digest}\"")).expect("a digest is hexadecimal")
}

/// Whether the client has this very content already.
pub(crate) fn is_known(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    let Ok(etag) = etag.to_str() else { return false };
    let lines = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|line| line.to_str().ok());
    lines
        .flat_map(|line| line.split(','))
        .map(str::trim)
        .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

/// The answer to a client that has it already.
pub(crate) fn not_modified(etag: HeaderValue) -> Response {
    (StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response()
}

/// The bytes that a `Range` header asks of a whole of `size_bytes`; `None` asks for the whole.
///
/// One range is served; several are answered by the whole, which RFC 9110 allows.
///
/// # Errors
///
/// [`Failure::Range`] when the range begins beyond the end.
pub(crate) fn asked_range(headers: &HeaderMap, size_bytes: u64) -> Result<Option<Range<u64>>, Failure> {
    let text = headers.get(header::RANGE).and_then(|value| value.to_str().ok());
    let Some((first, last)) = text.and_then(|text| text.strip_prefix("bytes=")?.split_once('-')) else {
        return Ok(None);
    };
    let range = match (first.trim().parse::<u64>(), last.trim().parse::<u64>()) {
        (Ok(first), Ok(last)) if first <= last => first..last.saturating_add(1).min(size_bytes),
        (Ok(first), Err(_)) if last.trim().is_empty() => first..size_bytes,
        (Err(_), Ok(length)) if first.trim().is_empty() => size_bytes.saturating_sub(length)..size_bytes,
        _ => return Ok(None),
    };
    if range.start >= size_bytes { Err(Failure::Range { size_bytes }) } else { Ok(Some(range)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(range: &str, expected: Result<Option<Range<u64>>, ()>) {
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, range.parse().unwrap());
        assert_eq!(asked_range(&headers, 100).map_err(|_| ()), expected, "{range}");
    }

    #[test]
    fn ranges_are_single_and_inside() {
        check("bytes=0-9", Ok(Some(0..10)));
        check("bytes=90-", Ok(Some(90..100)));
        check("bytes=90-1000", Ok(Some(90..100)));
        check("bytes=-5", Ok(Some(95..100)));
        check("bytes=-500", Ok(Some(0..100)));
        check("bytes=100-", Err(()));
        check("bytes=-0", Err(()));
        check("bytes=9-0", Ok(None));
        check("bytes=0-1,5-6", Ok(None));
        check("lines=0-1", Ok(None));
        check("bytes=99999999999999999999-", Ok(None));
    }

    #[test]
    fn names_are_safe_and_true() {
        assert_eq!(
            disposition("train/größe\".py"),
            "attachment; filename=\"train_gr__e_.py\"; filename*=UTF-8''train%2Fgr%C3%B6%C3%9Fe%22.py"
        );
    }
}
