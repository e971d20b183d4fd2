//! Reading sheets: from a place in a channel, as far as its state says.
//!
//! A sheet may be written again with more rows between the moment a reader learned how far the channel is sealed and the
//! read; then it holds what the reader looks for and more, and is cut. Sheets that are left over hold what is true but may
//! end early; so the one before is asked too.

use neptune_kv::Scan;
use neptune_wire::JobUid;

use crate::key::{StoreKey, range_between};
use crate::sheet::{Row, Sheet};
use crate::store::{Store, StoreError};

/// Sheets that are looked at to find one: the right one, and left over ones behind its beginning.
const TRIES: usize = 16;

/// A stretch of a channel's rows to read.
#[derive(Debug, Clone, Copy)]
pub struct SheetRange<'a> {
    /// Whose channel.
    pub job: &'a JobUid,
    /// Its number.
    pub channel: u32,
    /// Where to begin.
    pub at: u64,
    /// How far the channel is sealed; beyond `at`.
    pub until: u64,
}

impl Store {
    /// The sheet that holds place `range.at`, and at most `more` that follow it; each follows the one before, and none
    /// goes beyond `range.until`.
    ///
    /// Cost: one seek, and a scan if there are more.
    ///
    /// # Errors
    ///
    /// [`StoreError::Sheet`] for a damaged sheet, [`StoreError::Missing`] where none is.
    pub async fn read_sheets<R: Row>(
        &self,
        range: SheetRange<'_>,
        more: usize,
    ) -> Result<Vec<Sheet<R>>, StoreError> {
        let SheetRange { job, channel, at, until } = range;
        let first = self.find_sheet::<R>(range).await?;
        let mut end = first.end();
        let mut sheets = vec![first];
        if more > 0 && end < until {
            let key = |first| StoreKey::Sheet { job: *job, channel, first };
            let behind = range_between(&key(at + 1), &key(until));
            let page = self.kv().scan(Scan::ascending(behind.clone()).rows(more)).await?;
            for (key, value) in page.rows {
                let key = StoreKey::decode(behind.family, &key)?;
                // One that begins elsewhere is left over, or the one before it has grown since.
                let StoreKey::Sheet { first, .. } = key else { continue };
                if first != end {
                    continue;
                }
                let sheet = decode(first, &key, &value)?;
                end = sheet.end();
                sheets.push(sheet);
            }
        }
        if let Some(last) = sheets.last_mut() {
            last.truncate(until);
        }
        Ok(sheets)
    }

    async fn find_sheet<R: Row>(&self, range: SheetRange<'_>) -> Result<Sheet<R>, StoreError> {
        let SheetRange { job, channel, at, .. } = range;
        let key = |first| StoreKey::Sheet { job: *job, channel, first };
        let mut next = Some(range_between(&key(0), &key(at + 1)));
        for _ in 0..TRIES {
            let Some(before) = next else { break };
            let family = before.family;
            let page = self.kv().scan(Scan::descending(before).rows(1)).await?;
            next = page.rest;
            let Some((key, value)) = page.rows.first() else { break };
            let key = StoreKey::decode(family, key)?;
            let StoreKey::Sheet { first, .. } = key else { break };
            let sheet: Sheet<R> = decode(first, &key, value)?;
            if at < sheet.end() {
                return Ok(sheet);
            }
        }
        Err(StoreError::Missing { what: "the sheet of this place", key: key(at).encode() })
    }

    /// Where the sheet begins in which a sealed line of a log begins.
    ///
    /// # Errors
    ///
    /// [`StoreError::Missing`] when the log has no such line.
    pub async fn find_log_line(&self, job: &JobUid, channel: u32, line: u64) -> Result<u64, StoreError> {
        let key = |line| StoreKey::LogLine { job: *job, channel, line, first: 0 };
        let range = range_between(&key(0), &key(line.saturating_add(1)));
        let family = range.family;
        let page = self.kv().scan(Scan::descending(range).rows(1)).await?;
        match page.rows.first().map(|(key, _)| StoreKey::decode(family, key)).transpose()? {
            Some(StoreKey::LogLine { first, .. }) => Ok(first),
            _ => Err(StoreError::Missing { what: "the sheet of this line", key: key(line).encode() }),
        }
    }
}

fn decode<R: Row>(first: u64, key: &StoreKey, value: &[u8]) -> Result<Sheet<R>, StoreError> {
    Sheet::decode(first, value).map_err(|source| StoreError::Sheet { key: key.encode(), source })
}
