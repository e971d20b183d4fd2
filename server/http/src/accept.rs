//! Which of several forms an `Accept` header asks for.

use axum::http::{HeaderMap, header};
use neptune_wire::columns::COLUMNS;

/// A form an answer can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Json,
    Csv,
    Columns,
}

impl Form {
    fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Csv => "text/csv",
            Self::Columns => COLUMNS,
        }
    }
}

/// The offered form with the greatest weight, the earlier offer on a tie; the first offer if nothing fits, since an
/// answer one did not ask for is of more use than none.
pub(crate) fn asked_form(headers: &HeaderMap, offers: &[Form]) -> Form {
    let lines = headers.get_all(header::ACCEPT).iter().filter_map(|line| line.to_str().ok());
    let ranges: Vec<(String, f32)> = lines.flat_map(|line| line.split(',')).map(range_and_weight).collect();
    let mut best = (offers[0], 0.0);
    for &offer in offers {
        let weight = weight_of(offer.media_type(), &ranges);
        if weight > best.1 {
            best = (offer, weight);
        }
    }
    best.0
}

fn range_and_weight(part: &str) -> (String, f32) {
    let mut fields = part.split(';').map(str::trim);
    let range = fields.next().unwrap_or_default().to_ascii_lowercase();
    let weight = fields.find_map(|field| field.strip_prefix("q=")?.parse().ok());
    (range, weight.unwrap_or(1.0))
}

/// The weight of the most exact range that covers a media type.
fn weight_of(media_type: &str, ranges: &[(String, f32)]) -> f32 {
    let group = media_type.split('/').next().unwrap_or_default();
    let exactness = |range: &str| match range {
        _ if range == media_type => Some(2),
        "*/*" => Some(0),
        _ if range.strip_suffix("/*") == Some(group) => Some(1),
        _ => None,
    };
    let covering = ranges.iter().filter_map(|(range, weight)| Some((exactness(range)?, *weight)));
    covering.max_by_key(|(exactness, _)| *exactness).map_or(0.0, |(_, weight)| weight)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(accept: &str) -> Form {
        let mut headers = HeaderMap::new();
        if !accept.is_empty() {
            headers.insert(header::ACCEPT, accept.parse().unwrap());
        }
        asked_form(&headers, &[Form::Json, Form::Csv, Form::Columns])
    }

    #[test]
    fn the_greatest_weight_wins() {
        assert_eq!(asked(""), Form::Json);
        assert_eq!(asked("*/*"), Form::Json);
        assert_eq!(asked("text/csv"), Form::Csv);
        assert_eq!(asked("Text/CSV; charset=utf-8"), Form::Csv);
        assert_eq!(asked("text/*, application/json;q=0.5"), Form::Csv);
        assert_eq!(asked("application/vnd.neptune.columns"), Form::Columns);
        assert_eq!(asked("application/vnd.neptune.columns;q=0.9, */*;q=0.1"), Form::Columns);
        assert_eq!(asked("application/json;q=0, */*"), Form::Csv);
        assert_eq!(asked("image/png"), Form::Json);
    }
}
