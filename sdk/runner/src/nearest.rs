//! The nearest of a few known words to one that is not among them.

/// Finds the known word that `word` was most likely meant to be; `None` when nothing is near.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |text: &str| text.to_lowercase().replace(['-', '_', ' '], "");
    let wanted = plain(word);
    let allowed = (wanted.chars().count() / 3).clamp(1, 3);
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&wanted, &plain(candidate)), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// ` did you mean …?`-style ending for a message; empty when nothing is near.
pub(crate) fn hint<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, known).map(|near| format!("; did you mean {near:?}?")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_found_and_strangers_are_not() {
        let known = ["parameters", "paths-to-copy", "properties", "project"];
        assert_eq!(nearest("paramters", known), Some("parameters"));
        assert_eq!(nearest("paths_to_copy", known), Some("paths-to-copy"));
        assert_eq!(nearest("Project", known), Some("project"));
        assert_eq!(nearest("colour", known), None);
        assert_eq!(nearest("lr", ["epochs", "x"]), None);
    }
}
