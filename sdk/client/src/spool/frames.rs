//! The frames of a session on disk: files of `u32 length · frame`, named by their first frame number.
//!
//! Frames carry their own checksum, session and number. A reader trusts nothing else: what does not check out is skipped
//! up to the next record that does, so one damaged sector costs the frames in it and no other. Numbers may be missing:
//! the server had those frames before the rest was written.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use neptune_wire::SessionId;
use neptune_wire::frame::{self, FRAME_BYTES};

use super::{append_whole, open_append};

/// A file is closed at this size, so that space is given back while a long backlog is sent.
const FILE_BYTES: u64 = 16 << 20;
const LENGTH_BYTES: u64 = 4;
/// Magic and session id, by which a record is found after damage.
const MARK_BYTES: usize = 20;

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Frames {
    folder: PathBuf,
    session: SessionId,
    files: VecDeque<Segment>,
    /// The last of `files`, when it is open to append.
    open: Option<File>,
}

/// One file.
#[derive(Debug, Clone)]
struct Segment {
    path: PathBuf,
    last_seq: u64,
    /// Up to here it was written wholly.
    length: u64,
}

impl Frames {
    /// Of a new session.
    pub(crate) fn new(folder: &Path, session: SessionId) -> Self {
        Self { folder: folder.into(), session, files: VecDeque::new(), open: None }
    }

    /// Of a session whose process is gone: cuts torn ends.
    ///
    /// Cost: reads every record's beginning, and whole the last one of each file.
    pub(crate) fn scan(folder: &Path, session: SessionId) -> io::Result<Self> {
        let mut paths: Vec<PathBuf> = fs::read_dir(folder)?
            .map(|entry| Ok(entry?.path()))
            .filter(|path: &io::Result<PathBuf>| path.as_ref().map_or(true, |path| is_frame_file(path)))
            .collect::<io::Result<_>>()?;
        // Names hold the first number with leading zeros.
        paths.sort();
        let mut files = VecDeque::with_capacity(paths.len());
        for path in paths {
            let file = File::options().read(true).write(true).open(&path)?;
            let records = Records { file: &file, session, length: file.metadata()?.len() };
            let (mut end, mut last_seq) = (0, 0);
            let mut at = 0;
            while let Some(record) = records.find_from(at)? {
                (at, end, last_seq) = (record.end, record.end, record.seq);
            }
            if end < records.length {
                file.set_len(end)?;
            }
            if end == 0 {
                fs::remove_file(&path)?;
            } else {
                files.push_back(Segment { path, last_seq, length: end });
            }
        }
        Ok(Self { folder: folder.into(), session, files, open: None })
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.files.iter().map(|segment| segment.length).sum()
    }

    /// The highest frame number on disk.
    pub(crate) fn last_seq(&self) -> Option<u64> {
        self.files.back().map(|segment| segment.last_seq)
    }

    /// The file being appended to.
    pub(crate) fn file(&self) -> Option<&File> {
        self.open.as_ref()
    }

    /// Appends frames in order of their numbers. After an error those up to [`Self::last_seq`] are written.
    pub(crate) fn append(&mut self, frames: &[(u64, Bytes)]) -> io::Result<()> {
        let mut rest = frames;
        while !rest.is_empty() {
            if self.open.is_none() || self.files.back().is_none_or(|segment| segment.length >= FILE_BYTES) {
                self.begin_file(rest[0].0)?;
            }
            let (Some(file), Some(segment)) = (&mut self.open, self.files.back_mut()) else { return Ok(()) };
            let mut records = Vec::new();
            let mut taken = 0;
            while taken < rest.len() && (taken == 0 || records.len() < 1 << 20) {
                let frame = &rest[taken].1;
                records.extend_from_slice(&(frame.len() as u32).to_le_bytes());
                records.extend_from_slice(frame);
                taken += 1;
            }
            if let Err(error) = append_whole(file, &records, segment.length) {
                // The file may end in a torn record; what follows goes into a new one.
                self.open = None;
                return Err(error);
            }
            segment.length += records.len() as u64;
            segment.last_seq = rest[taken - 1].0;
            rest = &rest[taken..];
        }
        Ok(())
    }

    fn begin_file(&mut self, first_seq: u64) -> io::Result<()> {
        if let Some(file) = self.open.take() {
            // Files that are full are synced here, so that the background sync only ever needs the open one.
            file.sync_data()?;
        }
        let path = self.folder.join(format!("frames-{first_seq:020}.log"));
        self.open = Some(open_append(&path)?);
        // A file of this name holds an earlier try at the same frame.
        let length =
            self.open.as_ref().map_or(Ok(0), |file| file.metadata().map(|metadata| metadata.len()))?;
        match self.files.back_mut() {
            Some(segment) if segment.path == path => segment.length = length,
            _ => self.files.push_back(Segment { path, last_seq: first_seq.saturating_sub(1), length }),
        }
        Ok(())
    }

    /// Deletes files of which the server has every frame.
    pub(crate) fn release(&mut self, acked: u64) {
        while let Some(segment) = self.files.front()
            && segment.last_seq <= acked
        {
            if self.files.len() == 1 {
                self.open = None;
            }
            // A file that cannot be deleted is sent again by a later sync, which changes nothing.
            let _ = fs::remove_file(&segment.path);
            self.files.pop_front();
        }
    }
}

/// Reads frames in order, beside a writer that appends.
#[derive(Debug, Default)]
pub(crate) struct FrameReader {
    file: Option<(PathBuf, File)>,
    at: u64,
    /// Where the last answer began, and its number.
    last: Option<(u64, u64)>,
}

impl FrameReader {
    /// The first frame on disk whose number is at least `seq`. Asked with growing numbers it reads on from where it was.
    pub(crate) fn read_from(&mut self, frames: &Frames, seq: u64) -> io::Result<Option<(u64, Bytes)>> {
        match self.last {
            Some((begin, last)) if last == seq => self.at = begin,
            Some((_, last)) if last > seq => *self = Self::default(),
            _ => {}
        }
        for segment in frames.files.iter().filter(|segment| segment.last_seq >= seq) {
            if self.file.as_ref().is_none_or(|(path, _)| *path != segment.path) {
                self.file = Some((segment.path.clone(), File::open(&segment.path)?));
                self.at = 0;
            }
            let Some((_, file)) = &self.file else { continue };
            let records = Records { file, session: frames.session, length: segment.length };
            while let Some(mut record) = records.find_from(self.at)? {
                let mut frame = None;
                if record.seq >= seq {
                    frame = records.read_checked(&record)?;
                    // Its beginning looks right and its end is not: the next one may begin before that end.
                    if frame.is_none() {
                        let Some(next) = records.search_after(record.begin - LENGTH_BYTES)? else { break };
                        record = next;
                        frame = records.read_checked(&record)?.filter(|_| record.seq >= seq);
                    }
                }
                self.at = record.end;
                if let Some(frame) = frame {
                    self.last = Some((record.begin - LENGTH_BYTES, record.seq));
                    return Ok(Some((record.seq, frame)));
                }
            }
        }
        Ok(None)
    }
}

/// The records of one file.
struct Records<'a> {
    file: &'a File,
    session: SessionId,
    length: u64,
}

struct Record {
    seq: u64,
    begin: u64,
    end: u64,
}

impl Records<'_> {
    /// The record at `at`, or after damage the next one that checks out.
    fn find_from(&self, at: u64) -> io::Result<Option<Record>> {
        match self.record_at(at)? {
            // The last record of a file is the one that may be torn though its beginning looks right.
            Some(record) if record.end < self.length || self.read_checked(&record)?.is_some() => {
                Ok(Some(record))
            }
            _ if at >= self.length => Ok(None),
            _ => self.search_after(at),
        }
    }

    fn record_at(&self, at: u64) -> io::Result<Option<Record>> {
        let mut head = [0; LENGTH_BYTES as usize + 32];
        if at + head.len() as u64 > self.length {
            return Ok(None);
        }
        self.file.read_exact_at(&mut head, at)?;
        let (length, head) = head.split_at(LENGTH_BYTES as usize);
        let length = length.iter().rev().fold(0, |length, byte| length << 8 | u64::from(*byte));
        let end = at + LENGTH_BYTES + length;
        let header = frame::parse_header(head).ok().filter(|header| header.session == self.session);
        let fits = length <= FRAME_BYTES as u64 && end <= self.length;
        Ok(header.filter(|_| fits).map(|header| Record { seq: header.seq, begin: at + LENGTH_BYTES, end }))
    }

    fn read_checked(&self, record: &Record) -> io::Result<Option<Bytes>> {
        let mut bytes = vec![0; (record.end - record.begin) as usize];
        self.file.read_exact_at(&mut bytes, record.begin)?;
        Ok(frame::parse(&bytes).is_ok().then(|| bytes.into()))
    }

    fn search_after(&self, at: u64) -> io::Result<Option<Record>> {
        let mut mark = b"NPF1".to_vec();
        mark.extend_from_slice(self.session.as_bytes());
        let mut window = vec![0; 1 << 20];
        let mut from = at + 1;
        while from + MARK_BYTES as u64 <= self.length {
            let count = window.len().min((self.length - from) as usize);
            self.file.read_exact_at(&mut window[..count], from)?;
            for found in find_all(&window[..count], &mark) {
                let begin = from + found as u64;
                if let Some(record) = begin.checked_sub(LENGTH_BYTES).filter(|begin| *begin > at)
                    && let Some(record) = self.record_at(record)?
                    && self.read_checked(&record)?.is_some()
                {
                    return Ok(Some(record));
                }
            }
            from += (count - MARK_BYTES + 1) as u64;
        }
        Ok(None)
    }
}

fn find_all(bytes: &[u8], mark: &[u8]) -> Vec<usize> {
    bytes.windows(mark.len()).enumerate().filter(|(_, window)| *window == mark).map(|(at, _)| at).collect()
}

fn is_frame_file(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.starts_with("frames-") && name.ends_with(".log")
}

#[cfg(test)]
mod tests {
    use neptune_wire::frame::FrameBuilder;
    use proptest::prelude::*;

    use super::*;
    use crate::small_disk::with_small_disk;

    const SESSION: SessionId = SessionId::from_bytes([7; 16]);

    fn frame(seq: u64) -> (u64, Bytes) {
        let mut builder = FrameBuilder::new(SESSION, seq);
        let text = "x".repeat((seq as usize * 37) % 300);
        builder.push_text(0, seq as f64, 0, &text, false);
        (seq, builder.finish().into())
    }

    fn read_all(frames: &Frames, from: u64) -> Vec<u64> {
        let mut reader = FrameReader::default();
        let (mut seq, mut all) = (from, vec![]);
        while let Some((found, bytes)) = reader.read_from(frames, seq).unwrap() {
            assert_eq!(frame(found).1, bytes);
            all.push(found);
            seq = found + 1;
        }
        all
    }

    fn only_file(folder: &Path) -> PathBuf {
        let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(files.len(), 1);
        files.remove(0)
    }

    #[test]
    fn frames_are_read_from_any_number_and_released() {
        let folder = tempfile::tempdir().unwrap();
        let mut frames = Frames::new(folder.path(), SESSION);
        frames.append(&(3..=10).map(frame).collect::<Vec<_>>()).unwrap();
        frames.append(&(15..=20).map(frame).collect::<Vec<_>>()).unwrap();
        assert_eq!(read_all(&frames, 9), [9, 10, 15, 16, 17, 18, 19, 20]);
        let mut reader = FrameReader::default();
        for (asked, found) in [(12, 15), (12, 15), (15, 15), (15, 15), (16, 16), (3, 3), (11, 15), (20, 20)] {
            assert_eq!(reader.read_from(&frames, asked).unwrap().map(|found| found.0), Some(found));
        }
        frames.release(19);
        assert_eq!(read_all(&frames, 20), [20]);
        frames.release(20);
        assert_eq!((frames.bytes(), frames.last_seq()), (0, None));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        frames.append(&[frame(21)]).unwrap();
        assert_eq!(read_all(&frames, 1), [21]);
    }

    #[test]
    fn long_backlogs_lie_in_several_files() {
        let folder = tempfile::tempdir().unwrap();
        let mut frames = Frames::new(folder.path(), SESSION);
        let text = "y".repeat(30_000);
        let large = |seq| {
            let mut builder = FrameBuilder::new(SESSION, seq);
            builder.push_text(0, 0.0, 0, &text, false);
            (seq, Bytes::from(builder.finish()))
        };
        for seq in 1..=1200 {
            frames.append(&[large(seq)]).unwrap();
        }
        assert!(frames.files.len() >= 3);
        let scanned = Frames::scan(folder.path(), SESSION).unwrap();
        assert_eq!(scanned.last_seq(), Some(1200));
        let before = fs::read_dir(folder.path()).unwrap().count();
        frames.release(1000);
        assert!(fs::read_dir(folder.path()).unwrap().count() < before);
        let mut reader = FrameReader::default();
        for seq in 1001..=1200 {
            assert_eq!(reader.read_from(&frames, seq).unwrap().unwrap().0, seq);
        }
    }

    #[test]
    fn a_torn_end_is_cut_wherever_it_tears() {
        let folder = tempfile::tempdir().unwrap();
        let mut frames = Frames::new(folder.path(), SESSION);
        let mut ends = vec![];
        for seq in 1..=4 {
            frames.append(&[frame(seq)]).unwrap();
            ends.push(frames.bytes());
        }
        let path = only_file(folder.path());
        let whole = fs::read(&path).unwrap();
        for cut in 0..=whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            let scanned = Frames::scan(folder.path(), SESSION).unwrap();
            let expected: Vec<_> =
                (1..=ends.iter().filter(|end| **end <= cut as u64).count() as u64).collect();
            assert_eq!(read_all(&scanned, 1), expected, "cut at {cut}");
        }
    }

    #[test]
    fn a_full_disk_keeps_what_was_written_and_takes_more_later() {
        let name = "spool::frames::tests::a_full_disk_keeps_what_was_written_and_takes_more_later";
        with_small_disk(name, 256, |disk| {
            let mut frames = Frames::new(disk, SESSION);
            let (mut last, mut fits) = (0, vec![]);
            for seq in 1.. {
                match frames.append(&[frame(3 * seq), frame(3 * seq + 1), frame(3 * seq + 2)]) {
                    Ok(()) => fits.extend([3 * seq, 3 * seq + 1, 3 * seq + 2]),
                    Err(error) => {
                        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
                        last = 3 * seq;
                        break;
                    }
                }
            }
            assert!(fits.len() > 300);
            assert_eq!(read_all(&frames, 1), fits);
            // A new file cannot be begun either, and the old ones stay readable.
            assert!(frames.append(&(last..last + 3).map(frame).collect::<Vec<_>>()).is_err());
            assert_eq!(read_all(&Frames::scan(disk, SESSION).unwrap(), 1), fits);
            frames.release(last - 1);
            frames.append(&(last..last + 3).map(frame).collect::<Vec<_>>()).unwrap();
            assert_eq!(read_all(&frames, 1), [last, last + 1, last + 2]);
            assert_eq!(read_all(&Frames::scan(disk, SESSION).unwrap(), 1), [last, last + 1, last + 2]);
        });
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn damage_costs_only_the_frames_it_hits(at in 0_usize..2000, length in 1_usize..40, seed: u64) {
            let folder = tempfile::tempdir().unwrap();
            let mut frames = Frames::new(folder.path(), SESSION);
            let mut ends = vec![0];
            for seq in 1..=30 {
                frames.append(&[frame(seq)]).unwrap();
                ends.push(frames.bytes() as usize);
            }
            let path = only_file(folder.path());
            let mut bytes = fs::read(&path).unwrap();
            let damage = at..(at + length).min(bytes.len());
            let mut seed = seed | 1;
            for byte in &mut bytes[damage.clone()] {
                seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                *byte ^= (seed >> 33) as u8 | 1;
            }
            fs::write(&path, bytes).unwrap();
            let scanned = Frames::scan(folder.path(), SESSION).unwrap();
            let hit = |seq: &u64| ends[*seq as usize - 1] < damage.end && damage.start < ends[*seq as usize];
            let expected: Vec<_> = (1..=30).filter(|seq| !hit(seq)).collect();
            prop_assert_eq!(read_all(&scanned, 1), expected);
        }
    }
}
