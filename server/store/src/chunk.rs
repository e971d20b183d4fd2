//! Chunks: sealed points of one numeric channel, as compressed columns.
//!
//! ```text
//! 0    1   version, 1
//! 1    4   count u32        points, 1 to BLOCK_POINTS
//! 5        x column · y column · time column
//! -4   4   CRC-32 of everything before
//!
//! column
//! 0    1   form u8          1 pco of f64 · 2 pco of f32, each widens to the f64 that was stored · 3 pco of i64
//!                           4 affine: first f64, stride f64, value[i] = first + stride * i
//! 1    4   body length u32
//! 5        body
//! ```
//!
//! Numbers are little-endian, and every bit of every value survives. Points are counted from 0 in order of arrival, and
//! cut into blocks of [`BLOCK_POINTS`] by that count. A block lies in one chunk once it is complete and compresses to
//! what a value may hold; until then in parts that follow each other, of which a reader takes what it needs.
//!
//! Source of the compression: pco, <https://github.com/pcodec/pcodec>, level 4.

use bytes::Bytes;
use pco::data_types::Number;
use pco::standalone::{simple_compress, simple_decompress_into};
use pco::{ChunkConfig, DeltaSpec, ModeSpec};

/// Points of one block.
pub const BLOCK_POINTS: usize = 4_096;
/// Longest chunk; a value of the store holds 64 KiB.
pub const CHUNK_BYTES: usize = 60 << 10;
/// Points that never take more than [`CHUNK_BYTES`], whatever they are: 24 bytes each and pco's own frame.
pub const SURE_POINTS: usize = 2_048;

const VERSION: u8 = 1;
const HEAD_BYTES: usize = 5;
const CRC_BYTES: usize = 4;

const PCO_F64: u8 = 1;
const PCO_F32: u8 = 2;
const PCO_I64: u8 = 3;
const AFFINE: u8 = 4;

const LEVEL: usize = 4;
/// With fewer points than this, looking for the best way to compress costs more than it saves: they are merged soon.
const SMALL: usize = 512;

/// Columns of equal length, in order of arrival.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Points {
    /// Steps.
    pub x: Vec<f64>,
    /// Values.
    pub y: Vec<f64>,
    /// Microseconds since the epoch.
    pub time: Vec<i64>,
}

/// Why bytes are no chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("chunk is damaged: {0}")]
pub struct ChunkError(&'static str);

impl Points {
    /// How many.
    pub fn len(&self) -> usize {
        self.y.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.y.is_empty()
    }

    /// Adds points `range` of others behind.
    pub fn extend(&mut self, others: &Points, range: std::ops::Range<usize>) {
        self.x.extend_from_slice(&others.x[range.clone()]);
        self.y.extend_from_slice(&others.y[range.clone()]);
        self.time.extend_from_slice(&others.time[range]);
    }

    /// The chunk of points `range`, which are at least one and at most [`BLOCK_POINTS`].
    ///
    /// Cost: some 30 ns a point.
    pub fn encode(&self, range: std::ops::Range<usize>) -> Bytes {
        let (x, y, time) = (&self.x[range.clone()], &self.y[range.clone()], &self.time[range]);
        let mut out = Vec::with_capacity(64 + 8 * y.len());
        out.push(VERSION);
        out.extend_from_slice(&(y.len() as u32).to_le_bytes());
        match affine(x) {
            Some((first, stride)) => {
                push_column(&mut out, AFFINE, &[first.to_le_bytes(), stride.to_le_bytes()].concat());
            }
            None => push_floats(&mut out, x),
        }
        push_floats(&mut out, y);
        push_pco(&mut out, PCO_I64, time, ModeSpec::Classic, DeltaSpec::TryConsecutive(1));
        let crc = crc32fast::hash(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out.into()
    }

    /// Reads a chunk.
    ///
    /// Cost: some 8 ns a point.
    ///
    /// # Errors
    ///
    /// [`ChunkError`] for bytes that [`Points::encode`] did not make.
    pub fn decode(bytes: &[u8]) -> Result<Points, ChunkError> {
        let count = count(bytes)?;
        let (body, crc) = bytes.split_last_chunk::<CRC_BYTES>().ok_or(ChunkError("cut"))?;
        if crc32fast::hash(body) != u32::from_le_bytes(*crc) {
            return Err(ChunkError("its checksum differs"));
        }
        let mut rest = &body[HEAD_BYTES..];
        let x = read_floats(&mut rest, count)?;
        let y = read_floats(&mut rest, count)?;
        let time = match read_column(&mut rest)? {
            (PCO_I64, body) => read_pco::<i64>(body, count)?,
            _ => return Err(ChunkError("times in an unknown form")),
        };
        if !rest.is_empty() || y.len() != count || x.len() != count || time.len() != count {
            return Err(ChunkError("its columns are not of its length"));
        }
        Ok(Points { x, y, time })
    }
}

/// How many points a chunk holds, without reading them.
///
/// # Errors
///
/// [`ChunkError`] for bytes that do not begin like a chunk.
pub fn count(bytes: &[u8]) -> Result<usize, ChunkError> {
    match bytes {
        [VERSION, a, b, c, d, _, ..] => match u32::from_le_bytes([*a, *b, *c, *d]) as usize {
            count @ 1..=BLOCK_POINTS => Ok(count),
            _ => Err(ChunkError("its length cannot be")),
        },
        [_, _, _, _, _, ..] => Err(ChunkError("it is of an unknown version")),
        _ => Err(ChunkError("cut")),
    }
}

/// First and stride, if every value is bit for bit what they say.
fn affine(values: &[f64]) -> Option<(f64, f64)> {
    let first = values[0];
    let stride = values.get(1).map_or(0.0, |second| second - first);
    let same = |(at, value): (usize, &f64)| (first + stride * at as f64).to_bits() == value.to_bits();
    values.iter().enumerate().all(same).then_some((first, stride))
}

fn push_column(out: &mut Vec<u8>, form: u8, body: &[u8]) {
    out.push(form);
    out.extend_from_slice(&(body.len() as u32).to_le_bytes());
    out.extend_from_slice(body);
}

fn push_floats(out: &mut Vec<u8>, values: &[f64]) {
    let narrow: Vec<f32> = values.iter().map(|value| *value as f32).collect();
    let same = |(narrow, value): (&f32, &f64)| f64::from(*narrow).to_bits() == value.to_bits();
    let (mode, delta) = match values.len() {
        ..SMALL => (ModeSpec::Classic, DeltaSpec::NoOp),
        _ => (ModeSpec::Auto, DeltaSpec::Auto),
    };
    if narrow.iter().zip(values).all(same) {
        push_pco(out, PCO_F32, &narrow, mode, delta);
    } else {
        push_pco(out, PCO_F64, values, mode, delta);
    }
}

fn push_pco<T: Number>(out: &mut Vec<u8>, form: u8, values: &[T], mode: ModeSpec, delta: DeltaSpec) {
    let config = ChunkConfig::default().with_compression_level(LEVEL).with_mode_spec(mode);
    let body = simple_compress(values, &config.with_delta_spec(delta));
    push_column(
        out,
        form,
        &body.expect("the configuration is constant and memory takes all that is written"),
    );
}

fn read_column<'a>(rest: &mut &'a [u8]) -> Result<(u8, &'a [u8]), ChunkError> {
    let cut = ChunkError("cut");
    let (&form, after) = rest.split_first().ok_or(cut)?;
    let (length, after) = after.split_first_chunk::<4>().ok_or(cut)?;
    let (body, after) = after.split_at_checked(u32::from_le_bytes(*length) as usize).ok_or(cut)?;
    *rest = after;
    Ok((form, body))
}

fn read_floats(rest: &mut &[u8], count: usize) -> Result<Vec<f64>, ChunkError> {
    match read_column(rest)? {
        (PCO_F64, body) => read_pco(body, count),
        (PCO_F32, body) => Ok(read_pco::<f32>(body, count)?.into_iter().map(f64::from).collect()),
        (AFFINE, body) => {
            let body =
                <[u8; 16]>::try_from(body).map_err(|_| ChunkError("an affine column of wrong length"))?;
            let [first, stride] = [0, 8].map(|at| f64::from_le_bytes(std::array::from_fn(|i| body[at + i])));
            Ok((0..count).map(|at| first + stride * at as f64).collect())
        }
        _ => Err(ChunkError("numbers in an unknown form")),
    }
}

/// Into as much memory as the count says: few bytes can stand for millions of equal numbers.
fn read_pco<T: Number + Default>(body: &[u8], count: usize) -> Result<Vec<T>, ChunkError> {
    // A place more, by which a column that is too long shows.
    let mut numbers = vec![T::default(); count + 1];
    match simple_decompress_into(body, &mut numbers) {
        Ok(progress) if progress.finished && progress.n_processed == count => {
            numbers.truncate(count);
            Ok(numbers)
        }
        Ok(_) => Err(ChunkError("a column of another length")),
        Err(_) => Err(ChunkError("a column cannot be decompressed")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bits(points: &Points) -> (Vec<u64>, Vec<u64>, Vec<i64>) {
        let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect();
        (bits(&points.x), bits(&points.y), points.time.clone())
    }

    /// Any bits, any NaN; what f32 holds and what it does not.
    fn value() -> impl Strategy<Value = f64> {
        prop_oneof![
            any::<u64>().prop_map(f64::from_bits),
            any::<f32>().prop_map(f64::from),
            (-100i32..100).prop_map(|whole| f64::from(whole) / 10.0),
            Just(f64::from_bits(0x7ff8_0000_0000_beef)),
            Just(-0.0),
        ]
    }

    #[test]
    fn a_column_of_another_length_is_none() {
        let packed = |count: usize| simple_compress(&vec![1.0_f64; count], &ChunkConfig::default()).unwrap();
        for count in [0, 1, BLOCK_POINTS - 1, BLOCK_POINTS + 1, 1 << 22] {
            assert!(read_pco::<f64>(&packed(count), BLOCK_POINTS).is_err(), "{count}");
        }
        assert_eq!(read_pco::<f64>(&packed(BLOCK_POINTS), BLOCK_POINTS).unwrap().len(), BLOCK_POINTS);
    }

    proptest! {
        #[test]
        fn every_bit_survives(
            rows in prop::collection::vec((value(), value(), any::<i64>()), 1..700),
            narrow: bool,
            steps: bool,
        ) {
            let mut points = Points::default();
            for (at, (x, y, time)) in rows.into_iter().enumerate() {
                points.x.push(if steps { at as f64 * 0.5 } else { x });
                points.y.push(if narrow { f64::from(y as f32) } else { y });
                points.time.push(time);
            }
            let bytes = points.encode(0..points.len());
            prop_assert_eq!(count(&bytes).unwrap(), points.len());
            prop_assert_eq!(bits(&Points::decode(&bytes).unwrap()), bits(&points));
        }

        #[test]
        fn damage_is_told(place in any::<prop::sample::Index>(), bit in 0u8..8) {
            let points = Points { x: vec![1.0, 2.0], y: vec![0.1, f64::NAN], time: vec![7, 8] };
            let mut bytes = points.encode(0..2).to_vec();
            let place = place.index(bytes.len());
            bytes[place] ^= 1 << bit;
            prop_assert!(Points::decode(&bytes).is_err());
            prop_assert!(Points::decode(&bytes[..place]).is_err());
        }
    }

    #[test]
    fn the_worst_points_fit_a_value() {
        let mut seed = 1_u64;
        let mut noise = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            seed ^ seed >> 29
        };
        let floats =
            |noise: &mut dyn FnMut() -> u64| (0..SURE_POINTS).map(|_| f64::from_bits(noise())).collect();
        let (x, y) = (floats(&mut noise), floats(&mut noise));
        let time = (0..SURE_POINTS).map(|_| noise().cast_signed()).collect();
        let size_bytes = Points { x, y, time }.encode(0..SURE_POINTS).len();
        assert!(size_bytes <= CHUNK_BYTES, "{size_bytes}");
    }

    #[test]
    fn steps_and_narrow_values_cost_little() {
        let noise = |at: usize| ((at * 7_919 % 10_007) as f32 * 1e-4).sin() * 0.1 + 0.5;
        let points = Points {
            x: (0..BLOCK_POINTS).map(|at| at as f64).collect(),
            y: (0..BLOCK_POINTS).map(|at| f64::from(noise(at))).collect(),
            time: (0..BLOCK_POINTS as i64)
                .map(|at| 1_700_000_000_000_000 + at * 1_000 + at * 31 % 17)
                .collect(),
        };
        let size_bytes = points.encode(0..BLOCK_POINTS).len();
        assert!(size_bytes < 4 * BLOCK_POINTS, "{size_bytes} bytes");
    }
}
