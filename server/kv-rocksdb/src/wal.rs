//! The end of the write-ahead log: what a loss of power may leave there, told apart from damage.
//!
//! Every group is one record, synced before the next is written, so only the last record of the newest log can be
//! incomplete, and nobody was told that it is written. It is cut off. If anything whole follows a broken place, the
//! log was damaged later, acknowledged commits are affected, and the store is not opened. RocksDB itself knows
//! to forgive either both or only some of the first.
//!
//! ```text
//! log      blocks of 32 KiB, the rest of a block that has no room for a head is zero
//! piece    masked crc32c u32 · length u16 · kind u8 · data      little-endian; crc over kind and data
//! kind     1 whole record, 2 first, 3 middle, 4 last piece of one; others stand alone
//! ```
//! (RocksDB, `db/log_format.h`.)

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use crate::{
    OpenError,
    crc32c::crc32c,
    folder::{Folder, io_error},
};

const BLOCK_BYTES: usize = 32 << 10;
const HEAD_BYTES: usize = 7;

const WHOLE: u8 = 1;
const FIRST: u8 = 2;
const MIDDLE: u8 = 3;
const LAST: u8 = 4;

/// What the newest log ends with.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// A whole record.
    Clean,
    /// Less than a record, from this offset on.
    Torn(usize),
    /// A broken place at this offset, with whole records after it.
    Damaged(usize),
}

/// Cuts an incomplete last record off the newest log.
///
/// # Errors
///
/// [`OpenError::Damaged`] if records follow a broken place.
pub(crate) fn cut_torn_end(folder: &Folder) -> Result<(), OpenError> {
    let newest = newest_log(&folder.rocksdb()).map_err(|cause| io_error(&folder.rocksdb(), cause))?;
    let Some(path) = newest else { return Ok(()) };
    let bytes = fs::read(&path).map_err(|cause| io_error(&path, cause))?;
    match end_of_log(&bytes) {
        End::Clean => Ok(()),
        End::Torn(offset) => {
            let cut_bytes = bytes.len() - offset;
            tracing::warn!(log = %path.display(), offset, cut_bytes, "cut an unfinished commit off the log");
            cut(&path, offset).map_err(|cause| io_error(&path, cause))
        }
        End::Damaged(offset) => Err(OpenError::Damaged {
            folder: folder.path().to_path_buf(),
            cause: format!("log {} is broken at byte {offset}, with whole records after it", path.display())
                .into(),
        }),
    }
}

fn cut(path: &Path, offset: usize) -> io::Result<()> {
    let file = File::options().write(true).open(path)?;
    file.set_len(offset as u64)?;
    file.sync_all()
}

fn newest_log(rocksdb: &Path) -> io::Result<Option<PathBuf>> {
    let mut newest = None;
    for entry in fs::read_dir(rocksdb)? {
        let path = entry?.path();
        let number =
            path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse::<u64>().ok());
        if let (Some(number), true) = (number, path.extension().is_some_and(|extension| extension == "log")) {
            newest = newest.max(Some((number, path)));
        }
    }
    Ok(newest.map(|(_, path)| path))
}

fn end_of_log(log: &[u8]) -> End {
    // After the last whole record, and after the last whole piece.
    let (mut good, mut offset) = (0, 0);
    let mut in_record = false;
    while let Some(piece) = Piece::at(log, offset) {
        in_record = match (piece.kind, in_record) {
            (WHOLE, false) | (LAST, true) => false,
            (FIRST, false) | (MIDDLE, true) => true,
            (WHOLE | FIRST, true) => return End::Damaged(good),
            (MIDDLE | LAST, false) => break,
            (_, in_record) => in_record,
        };
        offset = piece.end;
        if !in_record {
            good = offset;
        }
    }
    let rest = &log[good..];
    if rest.len() < HEAD_BYTES && rest.iter().all(|&byte| byte == 0) {
        return End::Clean;
    }
    match (offset + 1..log.len()).any(|place| begins_record(log, place)) {
        true => End::Damaged(offset),
        false => End::Torn(good),
    }
}

fn begins_record(log: &[u8], offset: usize) -> bool {
    // No piece begins in the last bytes of a block; what is found from there is the next block's, whatever its kind.
    let has_room = BLOCK_BYTES - offset % BLOCK_BYTES >= HEAD_BYTES;
    // The kind is looked at first, since the checksum of every place would take too long.
    has_room && matches!(log.get(offset + 6), Some(&(WHOLE | FIRST))) && Piece::at(log, offset).is_some()
}

/// A piece whose checksum is right.
struct Piece {
    kind: u8,
    end: usize,
}

impl Piece {
    /// The piece at `offset`, or at the next block if this one has no room for a head.
    fn at(log: &[u8], offset: usize) -> Option<Piece> {
        let left = BLOCK_BYTES - offset % BLOCK_BYTES;
        let start = if left < HEAD_BYTES { offset + left } else { offset };
        let head = log.get(start..start + HEAD_BYTES)?;
        let (checksum, length) = (u32::from_le_bytes(head[..4].try_into().ok()?), [head[4], head[5]]);
        let end = start + HEAD_BYTES + usize::from(u16::from_le_bytes(length));
        let checked = log.get(start + 6..end)?;
        let right = head[6] != 0 && start / BLOCK_BYTES == (end - 1) / BLOCK_BYTES;
        (right && masked(crc32c(checked)) == checksum).then_some(Piece { kind: head[6], end })
    }
}

/// How many records a log begins with.
#[cfg(test)]
pub(crate) fn count_records(log: &[u8]) -> usize {
    let mut pieces = std::iter::successors(Piece::at(log, 0), |piece| Piece::at(log, piece.end));
    pieces.by_ref().filter(|piece| matches!(piece.kind, WHOLE | FIRST)).count()
}

/// RocksDB stores checksums so that a checksum of bytes with checksums in them keeps its strength.
fn masked(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A log with one record per given length, and where each ends.
    fn log(lengths: &[usize]) -> (Vec<u8>, Vec<usize>) {
        let (mut log, mut ends) = (Vec::new(), Vec::new());
        for (index, &length) in lengths.iter().enumerate() {
            let record = vec![index as u8 + 1; length];
            let mut rest = &record[..];
            let mut first = true;
            while first || !rest.is_empty() {
                let left = BLOCK_BYTES - log.len() % BLOCK_BYTES;
                if left < HEAD_BYTES {
                    log.resize(log.len() + left, 0);
                    continue;
                }
                let (data, later) = rest.split_at(rest.len().min(left - HEAD_BYTES));
                let kind = match (first, later.is_empty()) {
                    (true, true) => WHOLE,
                    (true, false) => FIRST,
                    (false, false) => MIDDLE,
                    (false, true) => LAST,
                };
                let checked = [&[kind], data].concat();
                log.extend(masked(crc32c(&checked)).to_le_bytes());
                log.extend((data.len() as u16).to_le_bytes());
                log.extend(checked);
                (first, rest) = (false, later);
            }
            ends.push(log.len());
        }
        (log, ends)
    }

    /// Records that end in the first block, fill it up to the last bytes, span several, and end again.
    const LENGTHS: [usize; 6] = [100, 0, 20_000, BLOCK_BYTES - 20_141, 70_000, 50];

    #[test]
    fn whole_records_are_clean() {
        assert_eq!(end_of_log(&[]), End::Clean);
        let (log, ends) = log(&LENGTHS);
        for end in ends {
            assert_eq!(end_of_log(&log[..end]), End::Clean);
        }
    }

    #[test]
    fn a_cut_anywhere_is_torn_at_the_last_whole_record() {
        let (log, ends) = log(&LENGTHS);
        for cut in (0..log.len()).step_by(61).chain(ends.iter().flat_map(|&end| end - 9..end)) {
            let good = ends.iter().copied().filter(|&end| end <= cut).max().unwrap_or(0);
            let padding = log[good..cut].iter().all(|&byte| byte == 0) && cut - good < HEAD_BYTES;
            let expected = if padding { End::Clean } else { End::Torn(good) };
            assert_eq!(end_of_log(&log[..cut]), expected, "cut at {cut}");
        }
    }

    #[test]
    fn lost_pages_of_the_last_record_are_torn() {
        let (log, ends) = log(&LENGTHS[..5]);
        let (begin, end) = (ends[3], ends[4]);
        for page in (begin / 4096 + 1)..end / 4096 {
            let mut log = log.clone();
            log[page * 4096..(page + 1) * 4096].fill(0);
            assert_eq!(end_of_log(&log), End::Torn(begin), "page {page}");
            log.resize(end + 10_000, 0);
            assert_eq!(end_of_log(&log), End::Torn(begin), "page {page}, zeros after");
        }
    }

    /// The last bytes of a block, in which no piece begins, are followed by the checksum of the next block's, which may look
    /// like the kind of a record.
    #[test]
    fn the_end_of_a_block_begins_no_record() {
        for length in 40_000..41_000 {
            let (mut log, _) = log(&[length]);
            log[10] ^= 0x10;
            assert_eq!(end_of_log(&log), End::Torn(0), "{length} bytes");
        }
    }

    #[test]
    fn a_changed_byte_is_damage_if_a_record_follows() {
        let (log, ends) = log(&LENGTHS);
        let last = ends[4];
        for place in (0..log.len()).step_by(97).chain([0, 4, 5, 6, last - 1, last]) {
            let mut log = log.clone();
            log[place] ^= 0x10;
            match end_of_log(&log) {
                End::Damaged(_) => assert!(place < last, "byte {place}"),
                End::Torn(good) => assert!(place >= last && good == last, "byte {place}, cut at {good}"),
                // The padding of a block is not looked at, here or by RocksDB.
                End::Clean => assert_eq!(log[place], 0x10, "byte {place}"),
            }
        }
    }
}
