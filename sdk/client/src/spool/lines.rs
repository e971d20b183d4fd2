//! Small records as lines: `crc32 json`. A line that was torn by a kill, or damaged, ends the file when it is read.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{append_whole, open_append};

/// A file of lines that grows.
#[derive(Debug)]
pub(crate) struct LineFile {
    path: PathBuf,
    file: Option<File>,
    length: u64,
}

impl LineFile {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, file: None, length: 0 }
    }

    /// The open file, once something was appended.
    pub(crate) fn file(&self) -> Option<&File> {
        self.file.as_ref()
    }

    /// Appends records, all or none.
    pub(crate) fn append<T: Serialize>(&mut self, records: &[T]) -> io::Result<()> {
        if records.is_empty() {
            return Ok(());
        }
        let mut lines = String::new();
        for record in records {
            let json = serde_json::to_string(record)?;
            lines += &format!("{:08x} {json}\n", crc32fast::hash(json.as_bytes()));
        }
        let file = match &mut self.file {
            Some(file) => file,
            None => {
                let file = open_append(&self.path)?;
                self.length = file.metadata()?.len();
                self.file.insert(file)
            }
        };
        append_whole(file, lines.as_bytes(), self.length)?;
        self.length += lines.len() as u64;
        Ok(())
    }

    /// Deletes the file, if something was appended.
    pub(crate) fn remove(&mut self) -> io::Result<()> {
        if self.file.is_none() {
            return Ok(());
        }
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => {
                self.file = None;
                Ok(())
            }
        }
    }
}

/// The records of a file up to the first that is torn or damaged; none when there is no file.
pub(crate) fn read_lines<T: DeserializeOwned>(path: &Path) -> io::Result<Vec<T>> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
        Err(error) => return Err(error),
    };
    let lines = text.split_inclusive(|byte| *byte == b'\n');
    Ok(lines.map_while(read_line).collect())
}

fn read_line<T: DeserializeOwned>(line: &[u8]) -> Option<T> {
    let (crc, json) = line.strip_suffix(b"\n")?.split_at_checked(9)?;
    let crc = u32::from_str_radix(std::str::from_utf8(&crc[..8]).ok()?, 16).ok()?;
    if crc32fast::hash(json) != crc {
        return None;
    }
    serde_json::from_slice(json).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_cut_leaves_the_whole_lines_before_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        let mut file = LineFile::new(path.clone());
        file.append(&["one", "two\nlines"]).unwrap();
        file.append(&["größer"]).unwrap();
        let whole = fs::read(&path).unwrap();
        let ends: Vec<_> =
            whole.iter().enumerate().filter(|(_, b)| **b == b'\n').map(|(i, _)| i + 1).collect();
        assert_eq!(ends.len(), 3);
        for cut in 0..=whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            let read: Vec<String> = read_lines(&path).unwrap();
            let expected = ends.iter().filter(|end| **end <= cut).count();
            assert_eq!(read, ["one", "two\nlines", "größer"][..expected], "cut at {cut}");
        }
    }

    #[test]
    fn a_damaged_line_ends_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        LineFile::new(path.clone()).append(&[1, 2, 3]).unwrap();
        let mut bytes = fs::read(&path).unwrap();
        let second = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 10;
        bytes[second] ^= 1;
        fs::write(&path, bytes).unwrap();
        assert_eq!(read_lines::<u32>(&path).unwrap(), [1]);
    }
}
