//! Marked arguments of 2.x: `--lr %0.1` is the program's argument `0.1` and the param `lr` at once.
//!
//! `%VALUE:NAME` gives the param another name, `%` or `%:NAME` takes the value from the job file or `-p`, `%%` is a plain
//! percent sign. A value that is set elsewhere stays, and the program gets it too.

use super::is_grid;

/// What an argument that begins with `%` says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Mark<'a> {
    /// `%%…`: the text after the first sign.
    Plain(&'a str),
    /// `%(…)` or `%[…]`.
    Grid,
    /// A param.
    Param {
        /// Empty when it is set elsewhere.
        value: &'a str,
        /// That of the flag before it when absent.
        name: Option<&'a str>,
    },
}

impl<'a> Mark<'a> {
    /// Reads an argument; `None` when it bears no mark.
    pub(super) fn read(argument: &'a str) -> Option<Self> {
        let rest = argument.strip_prefix('%')?;
        if rest.starts_with('%') {
            return Some(Self::Plain(rest));
        }
        if is_grid(rest) || rest.starts_with(['(', '[']) {
            return Some(Self::Grid);
        }
        let (value, name) = match rest.split_once(':') {
            Some((value, name)) => (value, Some(name).filter(|name| !name.is_empty())),
            None => (rest, None),
        };
        Some(Self::Param { value, name })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_read() {
        let param = |value, name| Some(Mark::Param { value, name });
        assert_eq!(Mark::read("0.1"), None);
        assert_eq!(Mark::read("%0.1"), param("0.1", None));
        assert_eq!(Mark::read("%0.1:rate"), param("0.1", Some("rate")));
        assert_eq!(Mark::read("%"), param("", None));
        assert_eq!(Mark::read("%:rate"), param("", Some("rate")));
        assert_eq!(Mark::read("%%d items"), Some(Mark::Plain("%d items")));
        assert_eq!(Mark::read("%(0, 1, 0.1)"), Some(Mark::Grid));
        assert_eq!(Mark::read("%[a, b]"), Some(Mark::Grid));
    }
}
