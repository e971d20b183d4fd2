//! Snapshots: source trees by content.
//!
//! A snapshot is a manifest: its files sorted by path, each with the digest of its bytes. The snapshot's digest is the
//! BLAKE3 hash of [`Manifest::canonical_json`], so equal trees are one snapshot and only missing blobs travel.

use serde::{Deserialize, Serialize};

use crate::id::Digest;

/// Longest path in a snapshot, in bytes.
pub const PATH_BYTES: usize = 1024;

/// The files of a source tree, sorted by path, no path twice.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Sorted by path.
    pub files: Vec<File>,
}

/// One file of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Relative, `/` between parts, no empty, `.` or `..` part; below no other file or link of the snapshot.
    pub path: String,
    /// Of the file's bytes; of the target's text for a symbolic link.
    pub digest: Digest,
    /// In bytes.
    pub size_bytes: u64,
    /// Regular, executable or a link.
    #[serde(default)]
    pub mode: Mode,
}

/// What kind of file it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// A plain file.
    #[default]
    File,
    /// A file that may be executed.
    Executable,
    /// A symbolic link; its bytes are the target.
    Link,
}

/// Why a manifest is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Absolute, empty, with `.`/`..`/empty parts, backslashes or control characters, or too long.
    #[error("path {path:?} must be relative, without empty, '.' or '..' parts, and at most 1,024 bytes")]
    Path {
        /// The path as it came.
        path: String,
    },
    /// Not sorted by path, or a path twice.
    #[error("path {path:?} must sort after the one before it; sort the files by path and name each once")]
    Order {
        /// The path that does not.
        path: String,
    },
    /// It lies below a path that is a file or link itself.
    #[error(
        "path {path:?} lies below another file of the snapshot; only folders, which are not named, hold files"
    )]
    Parent {
        /// The path below.
        path: String,
    },
}

impl Manifest {
    /// The bytes that are hashed: JSON without blanks, fields in the order of this page.
    pub fn canonical_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a manifest is plain data and always serialises")
    }

    /// Reads what [`Manifest::canonical_json`] wrote; `None` for anything else.
    pub fn from_canonical_json(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    /// Checks paths and order, and that no path lies below another: whoever unpacks the tree would write through a link.
    ///
    /// # Errors
    ///
    /// [`ManifestError`] with the first path that is wrong.
    pub fn check(&self) -> Result<(), ManifestError> {
        let mut before: Option<&str> = None;
        // The paths so far that this one begins with: in this order each is followed at once by all that begin with it.
        let mut begins: Vec<&str> = Vec::new();
        for file in &self.files {
            let path = file.path.as_str();
            let plain = |part: &str| !part.is_empty() && part != "." && part != "..";
            let odd = |c: char| c.is_control() || c == '\\';
            if path.len() > PATH_BYTES || path.contains(odd) || !path.split('/').all(plain) {
                return Err(ManifestError::Path { path: path.into() });
            }
            if before.is_some_and(|before| before >= path) {
                return Err(ManifestError::Order { path: path.into() });
            }
            while begins.last().is_some_and(|shorter| !path.starts_with(shorter)) {
                begins.pop();
            }
            if begins.iter().any(|shorter| path.as_bytes()[shorter.len()] == b'/') {
                return Err(ManifestError::Parent { path: path.into() });
            }
            begins.push(path);
            before = Some(path);
        }
        Ok(())
    }
}

/// The answer to `POST /projects/{key}/snapshots`: upload `missing`, then post again until it is empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SnapshotReceipt {
    /// The snapshot's digest, to be named in `POST /jobs`.
    pub snapshot: Digest,
    /// Blobs the project does not have yet.
    pub missing: Vec<Digest>,
}

/// `GET /jobs/{id}/snapshot`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Snapshot {
    /// Its digest.
    pub snapshot: Digest,
    /// How many files.
    pub files: u64,
    /// Their bytes together.
    pub size_bytes: u64,
}

/// `GET /jobs/{id}/snapshot/diff/{other}`: what changed from this job's tree to the other's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SnapshotDiff {
    /// Changed files by path; equal files are left out.
    pub files: Vec<FileDiff>,
}

/// One changed file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FileDiff {
    /// The path in both trees.
    pub path: String,
    /// What happened to it.
    pub change: Change,
    /// Unified diff with three lines of context; absent for binary or very large files, and for all that follow once the
    /// answer holds as much as one may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unified: Option<String>,
}

/// What happened to a file between two trees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Only in the other tree.
    Added,
    /// Only in this tree.
    Removed,
    /// Other bytes or another mode.
    Modified,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(paths: &[&str]) -> Manifest {
        let file = |path: &&str| File {
            path: path.to_string(),
            digest: Digest::from_bytes([7; 32]),
            size_bytes: 1,
            mode: Mode::File,
        };
        Manifest { files: paths.iter().map(file).collect() }
    }

    #[test]
    fn paths_stay_inside_the_tree() {
        assert_eq!(manifest(&["a/b.py", "main.py"]).check(), Ok(()));
        for wrong in ["", "/etc/passwd", "../x", "a/../b", "a//b", "a/", ".", "a\\b", "a\nb"] {
            assert!(matches!(manifest(&[wrong]).check(), Err(ManifestError::Path { .. })), "{wrong:?}");
        }
    }

    #[test]
    fn nothing_lies_below_a_file_or_link() {
        assert_eq!(manifest(&["a", "a-b", "a.txt", "ab/x", "b", "b0/x"]).check(), Ok(()));
        for wrong in [&["a", "a/x"][..], &["a", "a-b", "a.c", "a/x/y"], &["a/b", "a/b!", "a/b/c"]] {
            let path = wrong.last().unwrap().to_string();
            assert_eq!(manifest(wrong).check(), Err(ManifestError::Parent { path }), "{wrong:?}");
        }
    }

    #[test]
    fn order_is_part_of_the_digest_so_it_is_checked() {
        assert!(matches!(manifest(&["b", "a"]).check(), Err(ManifestError::Order { .. })));
        assert!(matches!(manifest(&["a", "a"]).check(), Err(ManifestError::Order { .. })));
    }
}
