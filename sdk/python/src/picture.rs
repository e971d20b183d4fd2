//! Pictures: plain pixels to PNG bytes, without the GIL.

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::error::InvalidValueError;

/// Encodes 8-bit pixels, row by row from the top, as a PNG file.
///
/// `colour` is `grey`, `grey-alpha`, `rgb` or `rgba`. Fast rather than small: a training loop waits for it.
#[pyfunction]
pub(crate) fn encode_png<'py>(
    py: Python<'py>,
    width: u32,
    height: u32,
    colour: &str,
    pixels: &[u8],
) -> PyResult<Bound<'py, PyBytes>> {
    let (colour, depth) = match colour {
        "grey" => (png::ColorType::Grayscale, 1),
        "grey-alpha" => (png::ColorType::GrayscaleAlpha, 2),
        "rgb" => (png::ColorType::Rgb, 3),
        "rgba" => (png::ColorType::Rgba, 4),
        other => return Err(InvalidValueError::new_err(format!("there is no colour {other:?}"))),
    };
    if width == 0 || height == 0 || u64::from(width) * u64::from(height) * depth != pixels.len() as u64 {
        return Err(InvalidValueError::new_err(format!(
            "a picture of {width} x {height} pixels of {depth} bytes is not {} bytes",
            pixels.len()
        )));
    }
    let bytes = py.detach(|| {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, width, height);
        encoder.set_color(colour);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_compression(png::Compression::Fast);
        encoder.write_header()?.write_image_data(pixels)?;
        Ok::<_, png::EncodingError>(bytes)
    });
    let bytes = bytes.map_err(|error| InvalidValueError::new_err(format!("picture: {error}")))?;
    Ok(PyBytes::new(py, &bytes))
}

/// Width and height in pixels, from the header of a PNG file.
pub(crate) fn png_size(bytes: &[u8]) -> Option<(u32, u32)> {
    let header = png::Decoder::new(std::io::Cursor::new(bytes)).read_header_info().ok()?.size();
    Some(header)
}
