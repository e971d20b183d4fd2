//! Columns of numbers in the body of a sheet, made short enough for zstd to do the rest.
//!
//! ```text
//! varint   u64, seven bits a byte, lowest first
//! whole    i64 as varints: the difference to the value before, its sign in the lowest bit
//! numbers  form u8 · 1: f64 that are whole, as `whole` · 2: f64 as they are
//! ```

/// The bytes end too early, or a number is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cut;

const WHOLE: u8 = 1;
const PLAIN: u8 = 2;

pub(super) fn push_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(super) fn read_varint(rest: &mut &[u8]) -> Result<u64, Cut> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, after) = rest.split_first().ok_or(Cut)?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(Cut)
}

pub(super) fn push_whole(out: &mut Vec<u8>, values: impl IntoIterator<Item = i64>) {
    let mut before = 0_i64;
    for value in values {
        let step = value.wrapping_sub(before);
        push_varint(out, (step << 1 ^ step >> 63).cast_unsigned());
        before = value;
    }
}

pub(super) fn read_whole(rest: &mut &[u8], count: usize) -> Result<Vec<i64>, Cut> {
    let mut before = 0_i64;
    let mut next = || {
        let step = read_varint(rest)?;
        before = before.wrapping_add((step >> 1).cast_signed() ^ -(step & 1).cast_signed());
        Ok(before)
    };
    (0..count).map(|_| next()).collect()
}

pub(super) fn push_numbers(out: &mut Vec<u8>, values: impl Iterator<Item = f64> + Clone) {
    if values.clone().all(|value| (value as i64 as f64).to_bits() == value.to_bits()) {
        out.push(WHOLE);
        push_whole(out, values.map(|value| value as i64));
    } else {
        out.push(PLAIN);
        values.for_each(|value| out.extend_from_slice(&value.to_le_bytes()));
    }
}

pub(super) fn read_numbers(rest: &mut &[u8], count: usize) -> Result<Vec<f64>, Cut> {
    let (&form, after) = rest.split_first().ok_or(Cut)?;
    *rest = after;
    match form {
        WHOLE => Ok(read_whole(rest, count)?.into_iter().map(|value| value as f64).collect()),
        PLAIN => {
            let (plain, after) = rest.split_at_checked(8 * count).ok_or(Cut)?;
            *rest = after;
            Ok(plain.as_chunks::<8>().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect())
        }
        _ => Err(Cut),
    }
}

pub(super) fn read_u32(rest: &mut &[u8]) -> Result<u32, Cut> {
    let (bytes, after) = rest.split_first_chunk().ok_or(Cut)?;
    *rest = after;
    Ok(u32::from_le_bytes(*bytes))
}
