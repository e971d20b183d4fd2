//! What changed between two source trees: a merge of two sorted manifests, then a line diff of each changed file.

use std::cmp::Ordering;
use std::time::Duration;

use neptune_wire::snapshot::{Change, File, Manifest};
use similar::TextDiff;

/// Larger files are named as changed, without a line diff.
pub(super) const DIFF_BYTES: u64 = 1024 * 1024;

/// After so long a diff is no longer the shortest one, only a right one.
const DIFF_TIME: Duration = Duration::from_millis(500);

/// A file that is not the same in both trees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Changed<'a> {
    pub(super) from: Option<&'a File>,
    pub(super) to: Option<&'a File>,
}

impl<'a> Changed<'a> {
    pub(super) fn path(&self) -> &'a str {
        self.to.or(self.from).map_or("", |file| &file.path)
    }

    pub(super) fn change(&self) -> Change {
        match (self.from, self.to) {
            (None, _) => Change::Added,
            (_, None) => Change::Removed,
            _ => Change::Modified,
        }
    }
}

/// The files that differ, by path; both manifests are sorted.
pub(super) fn changed_files<'a>(from: &'a Manifest, to: &'a Manifest) -> Vec<Changed<'a>> {
    let (mut left, mut right) = (from.files.iter().peekable(), to.files.iter().peekable());
    let mut changed = Vec::new();
    loop {
        let order = match (left.peek(), right.peek()) {
            (None, None) => return changed,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(a), Some(b)) => a.path.cmp(&b.path),
        };
        let pair = match order {
            Ordering::Less => Changed { from: left.next(), to: None },
            Ordering::Greater => Changed { from: None, to: right.next() },
            Ordering::Equal => Changed { from: left.next(), to: right.next() },
        };
        if pair.from != pair.to {
            changed.push(pair);
        }
    }
}

/// A unified diff with three lines of context; `None` when either side is no text.
pub(super) fn unified(path: &str, from: &[u8], to: &[u8]) -> Option<String> {
    let (from, to) = (std::str::from_utf8(from).ok()?, std::str::from_utf8(to).ok()?);
    if from.contains('\0') || to.contains('\0') {
        return None;
    }
    let diff = TextDiff::configure().timeout(DIFF_TIME).diff_lines(from, to);
    Some(diff.unified_diff().header(&format!("a/{path}"), &format!("b/{path}")).to_string())
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use neptune_wire::Digest;
    use neptune_wire::snapshot::Mode;

    use super::*;

    fn tree(files: &[(&str, u8, Mode)]) -> Manifest {
        let file = |(path, content, mode): &(&str, u8, Mode)| File {
            path: path.to_string(),
            digest: Digest::from_bytes([*content; 32]),
            size_bytes: 1,
            mode: *mode,
        };
        Manifest { files: files.iter().map(file).collect() }
    }

    #[test]
    fn added_removed_and_modified_files_are_named() {
        let from =
            tree(&[("a", 1, Mode::File), ("b", 1, Mode::File), ("d", 1, Mode::File), ("e", 1, Mode::File)]);
        let to = tree(&[
            ("a", 1, Mode::File),
            ("c", 1, Mode::File),
            ("d", 2, Mode::File),
            ("e", 1, Mode::Executable),
        ]);
        let changed: Vec<_> =
            changed_files(&from, &to).iter().map(|pair| (pair.path(), pair.change())).collect();
        use Change::{Added, Modified, Removed};
        assert_eq!(changed, [("b", Removed), ("c", Added), ("d", Modified), ("e", Modified)]);
        assert_eq!(changed_files(&from, &from), []);
    }

    #[test]
    fn text_is_shown_line_by_line() {
        expect![[r"
            --- a/main.py
            +++ b/main.py
            @@ -1,2 +1,2 @@
             import neptune
            -lr = 0.1
            +lr = 0.01
        "]]
        .assert_eq(
            &unified("main.py", b"import neptune\nlr = 0.1\n", b"import neptune\nlr = 0.01\n").unwrap(),
        );
        assert_eq!(unified("x.bin", b"\xff", b"a"), None);
        assert_eq!(unified("x.bin", b"a\0", b"a"), None);
    }
}
