//! What RocksDB is told: memory, files and compaction, per family.
//!
//! Memory is taken when needed: an empty store holds next to nothing, a busy one up to the cache plus
//! [`WRITE_BUFFERS_BYTES`]. Blocks are compressed by LZ4, which gives up by itself on those that
//! do not shrink; values in blob files are not.

use neptune_kv::Family;
use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, ColumnFamilyDescriptor, DBCompressionType, DBRecoveryMode,
    Env, LogLevel, Options as RocksOptions,
};

/// All write buffers together; reached only under load.
const WRITE_BUFFERS_BYTES: usize = 96 << 20;

/// Bounds what a restart has to replay, and makes a quiet family give up an old log that only it still needs.
const LOG_BYTES: u64 = 96 << 20;

/// Files held open; a store of one terabyte has about so many. Their indexes are in the cache, so this is cheap.
const OPEN_FILES: i32 = 4096;

/// Values from here on lie in blob files, which compaction of their keys does not rewrite.
const BLOB_BYTES: u64 = 2 << 10;

/// How the store is set up. The default is right for a server.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Memory for what was read, filled as it is read. Default 64 MiB; the page cache of the system comes on top.
    pub cache_bytes: usize,
    /// Room on the disk that commits leave untouched, so that what was accepted can still be put in order. Default
    /// 128 MiB: below that the store is read-only.
    pub reserve_bytes: u64,
    /// What an acknowledged commit survives. Default [`Durability::PowerLoss`].
    pub durability: Durability,
}

/// What an acknowledged commit survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The loss of power: the log is synced before the answer. What the `Kv` trait promises.
    PowerLoss,
    /// The end of the process, but not of the system. Breaks the promise; to measure what syncing costs, and to
    /// prove that the crash tests can fail.
    ProcessEnd,
}

impl Default for Options {
    fn default() -> Options {
        Options { cache_bytes: 64 << 20, reserve_bytes: 128 << 20, durability: Durability::PowerLoss }
    }
}

/// The column family of a family of keys. These names are on disk.
pub(crate) fn name(family: Family) -> &'static str {
    match family {
        Family::State => "state",
        Family::Log => "log",
        Family::Bulk => "bulk",
    }
}

/// Options of the database as a whole. Only a new one may be created; what is missing in an old one is damage.
pub(crate) fn database(new: bool) -> RocksOptions {
    let mut options = RocksOptions::default();
    options.create_if_missing(new);
    options.create_missing_column_families(new);
    options.set_max_background_jobs(2);
    // Whoever waits for an acknowledgement comes first. Flushes are not lowered: commits wait for them.
    let mut environment = Env::new().expect("the system's environment is there");
    environment.lower_thread_pool_cpu_priority();
    options.set_env(&environment);
    options.set_max_open_files(OPEN_FILES);
    options.set_db_write_buffer_size(WRITE_BUFFERS_BYTES);
    options.set_max_total_wal_size(LOG_BYTES);
    // An incomplete record can only be the last one, which `wal.rs` has cut off; anything else is damage to report.
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    // A log file that is missing or shorter than it was is damage too, not an empty store.
    options.set_track_and_verify_wals_in_manifest(true);
    // Large files are written out while they grow, so that no sync waits for hundreds of megabytes.
    options.set_bytes_per_sync(1 << 20);
    options.set_log_level(LogLevel::Info);
    options.set_max_log_file_size(4 << 20);
    options.set_keep_log_file_num(4);
    options.set_stats_dump_period_sec(0);
    options.set_stats_persist_period_sec(0);
    options
}

/// Every column family with its options, the unused `default` of RocksDB first.
pub(crate) fn families(options: &Options) -> Vec<ColumnFamilyDescriptor> {
    let cache = Cache::new_lru_cache(options.cache_bytes);
    let mut descriptors = vec![ColumnFamilyDescriptor::new("default", RocksOptions::default())];
    for family in Family::ALL {
        descriptors.push(ColumnFamilyDescriptor::new(name(family), family_options(family, &cache)));
    }
    descriptors
}

fn family_options(family: Family, cache: &Cache) -> RocksOptions {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(cache);
    // Indexes and filters count as cache, so memory is bounded by one figure.
    blocks.set_cache_index_and_filter_blocks(true);
    blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);
    // In pieces: the filter of a whole file, a megabyte and more, would fit into no part of the cache and be read again
    // for each key that is looked for.
    blocks.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
    blocks.set_partition_filters(true);
    blocks.set_metadata_block_size(4 << 10);
    blocks.set_pin_top_level_index_and_filter(true);
    blocks.set_block_size(16 << 10);
    blocks.set_format_version(6);

    let mut options = RocksOptions::default();
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_level_compaction_dynamic_level_bytes(true);
    match family {
        // Read by key, also for keys that are absent (conditions), so with a filter.
        Family::State => {
            options.set_write_buffer_size(8 << 20);
            blocks.set_bloom_filter(10.0, false);
        }
        // Appended in order and soon cleared: a large buffer lets much of it end before it is ever written to a
        // file, and files with many deletes are compacted early.
        Family::Log => {
            options.set_write_buffer_size(32 << 20);
            options.set_max_write_buffer_number(3);
            options.add_compact_on_deletion_collector_factory(10_000, 5_000, 0.5);
            // What was written to a file has mostly been cleared when the next one comes: compacting them moves
            // keys alone, and gives back all of it.
            options.set_level_zero_file_num_compaction_trigger(2);
            keep_values_in_blob_files(&mut options, cache);
        }
        // Large values are written once to blob files, cleaned up when a quarter of the oldest is garbage.
        Family::Bulk => {
            options.set_write_buffer_size(32 << 20);
            keep_values_in_blob_files(&mut options, cache);
        }
    }
    options.set_block_based_table_factory(&blocks);
    options
}

/// Large values are written once, to files of their own, which compaction of the keys leaves where they are.
fn keep_values_in_blob_files(options: &mut RocksOptions, cache: &Cache) {
    options.set_enable_blob_files(true);
    options.set_min_blob_size(BLOB_BYTES);
    options.set_enable_blob_gc(true);
    options.set_blob_cache(cache);
    // What is sealed is compressed already, and what is logged lives too short for it to pay.
    options.set_blob_compression_type(DBCompressionType::None);
}
