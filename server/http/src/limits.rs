//! Every bound of this face, with its reason. What a message says about a limit, it reads from here.

use std::time::Duration;

use neptune_engine::Engine;

/// Longest JSON body where no other limit is said: what one commit can hold is 1 MiB, and JSON is wordier.
pub(crate) const JSON_BYTES: usize = 2 << 20;
/// Longest JSON body of points. The engine stores them in one commit, 900 KiB at 24 bytes for the worst point: 36,000 points
/// of 400 channels always fit, and are at most 73 characters each.
pub(crate) const POINTS_BYTES: usize = 3 << 20;
/// Longest manifest of a snapshot: 100,000 files are about 15 MB.
pub(crate) const MANIFEST_BYTES: usize = Engine::MANIFEST_BYTES as usize;
/// Longest blob in one request.
pub(crate) const BLOB_BYTES: u64 = Engine::BLOB_BYTES;
/// Time for a JSON body to arrive whole: 32 MB over a slow line of 5 Mbit/s.
pub(crate) const JSON_BODY_TIME: Duration = Duration::from_secs(60);
/// Bytes of a JSON body that are read in place, in a few milliseconds; longer ones on a thread that may block.
pub(crate) const INLINE_JSON_BYTES: usize = 256 << 10;
/// Time between two pieces of a streamed body; a peer that stays silent longer is gone.
pub(crate) const BODY_PAUSE: Duration = Duration::from_secs(30);
/// Time for an answer to begin. The longest honest work is a search over a large log, a few seconds.
pub(crate) const ANSWER_TIME: Duration = Duration::from_secs(60);

/// Requests worked on at once, WebSockets apart; the next is told to come again rather than made to wait.
pub(crate) const REQUESTS_AT_ONCE: usize = 1_024;
/// Blobs taken at once, each for as long as it comes; more wait. They must not take the place of other requests.
pub(crate) const UPLOADS_AT_ONCE: usize = 128;
/// Connections open at once: 10,000 executors, their jobs, and browsers with room to spare, at 20 KB each.
pub(crate) const CONNECTIONS: usize = 32_768;
/// Time for a request's head, and for which a kept-alive connection may idle.
pub(crate) const HEAD_TIME: Duration = Duration::from_secs(60);
/// Time for a new connection to come to its first request, TLS handshake included.
pub(crate) const FIRST_REQUEST_TIME: Duration = Duration::from_secs(30);
/// Bytes of a request's head: a browser's cookies of other programs on localhost fit, a flood does not.
pub(crate) const HEAD_BYTES: usize = 64 << 10;
/// What a WebSocket reads at once. It is zeroed before every read, also before those that find nothing, and kept for as
/// long as the connection lives.
pub(crate) const SOCKET_READ_BYTES: usize = 8 << 10;
/// Streams of one HTTP/2 connection: a browser's page with many charts.
pub(crate) const HTTP2_STREAMS: u32 = 256;
/// Rest between attempts to accept when the process has no file descriptor left.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Longest stored file that is shown as an image.
pub(crate) const IMAGE_BYTES: u64 = 64 << 20;
/// Widest and highest image that is decoded.
pub(crate) const IMAGE_SIDE: u32 = 16_384;
/// Memory one decoder may take: 128 megapixels of RGBA would be 512 MiB; half of it is plenty for a picture to look at.
pub(crate) const IMAGE_MEMORY_BYTES: u64 = 256 << 20;
/// Images decoded at once, which bounds their memory together.
pub(crate) const IMAGES_AT_ONCE: usize = 2;
/// Thumbnails are at least and at most so many pixels wide or high, whichever is more.
pub(crate) const THUMBNAIL_SIDES: std::ops::RangeInclusive<u32> = 16..=1_024;
/// Thumbnails kept in memory: some thousands of them, as pages draw them.
pub(crate) const THUMBNAIL_BYTES: u64 = 32 << 20;
/// Archives packed at once; each holds a thread.
pub(crate) const ARCHIVES_AT_ONCE: usize = 4;
/// Trees compared at once, each for up to 10 s of a core.
pub(crate) const DIFFS_AT_ONCE: usize = 2;
/// Bytes of a log read and sent at once.
pub(crate) const LOG_PIECE_BYTES: usize = 256 << 10;
/// Series in one envelope request.
pub(crate) const SERIES: usize = 200;
/// Buckets asked for when the request does not say.
pub(crate) const BUCKETS: u32 = 1_000;
/// Longest `Idempotency-Key`, which is the engine's own limit.
pub(crate) const KEY_BYTES: usize = 256;

/// Longest WebSocket message: a thousand channels of the longest names. Frames are at most 60 KiB.
pub(crate) const MESSAGE_BYTES: usize = 1 << 20;
/// How often a WebSocket peer is pinged.
pub(crate) const PING_EVERY: Duration = Duration::from_secs(20);
/// A peer that sent nothing for so long, not even a pong, is gone.
pub(crate) const DEAD_AFTER: Duration = Duration::from_secs(60);
/// Time for one message to leave: a slower reader than 20 KB/s is cut off and comes again.
pub(crate) const SEND_TIME: Duration = Duration::from_secs(60);
/// Answers that wait to be sent on one ingest connection before its next message is read.
pub(crate) const REPLIES: usize = 64;
/// Sessions open at once on one ingest connection: a spool's worth of forked writers.
pub(crate) const SESSIONS: usize = 1_000;
/// Live events joined into one write.
pub(crate) const EVENTS_PER_WRITE: usize = 64;
/// Time that open WebSockets get to tell what is durable when the server stops.
pub(crate) const FAREWELL_TIME: Duration = Duration::from_secs(5);
