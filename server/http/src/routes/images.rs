//! Images: what a channel holds, and each as a PNG that this server made, which is the only thing it shows inline.
//!
//! The stored file comes from a training script and may be anything. It is decoded within limits on size, sides and
//! memory, on a thread of its own, a few at once, and written anew: nothing of the file itself reaches the browser. Of a
//! file with several pictures the first is shown. Thumbnails are made in the same way and kept for a while.

pub(crate) mod thumbnails;

use std::io::Cursor;
use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::TryStreamExt as _;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{DynamicImage, ImageReader};
use neptune_engine::BlobRead;
use neptune_wire::query::{Images, ImagesQuery};

use crate::access::Granted;
use crate::download::{etag_of, is_known, not_modified};
use crate::extract::{ChannelPath, ImagePath, ImageQuery, Path, Query};
use crate::face::Shared;
use crate::failure::Failure;
use crate::limits;
use crate::openapi::ProblemAnswer;

/// Lists images of a channel in order of arrival, without their bytes.
#[utoipa::path(get, path = "/api/v1/jobs/{id}/channels/{name}/images", tag = "images",
    params(ChannelPath, ImagesQuery), responses(
    (status = 200, body = Images),
    (status = "4XX", response = inline(ProblemAnswer)),
))]
pub(crate) async fn list_images(
    State(face): State<Arc<Shared>>,
    Granted(grant): Granted,
    Path(path): Path<ChannelPath>,
    Query(query): Query<ImagesQuery>,
) -> Result<Answer<Images>, Failure> {
    Ok(Answer(face.engine.read_images(&grant, &path.id, &path.name, &query).await?))
}

/// Shows one image as PNG, whatever it was stored as, or a small picture of it; the stored file itself is at
/// `/projects/{key}/blobs/{digest}`.
#[utoipa::path(get, path = "/api/v1/jobs/{id}/channels/{name}/images/{index}", tag = "images",
    params(ImagePath, ImageQuery), responses(
    (status = 200, description = "the image, made anew", content_type = "image/png"),
    (status = "4XX", response = inline(ProblemAnswer)),
))]
pub(crate) async fn show_image(
    State(face): State<Arc<Shared>>,
    Granted(grant): Granted,
    Path(path): Path<ImagePath>,
    Query(ImageQuery { size }): Query<ImageQuery>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    if size.is_some_and(|size| !limits::THUMBNAIL_SIDES.contains(&size)) {
        return Err(Failure::Query { field: Some("size".into()), wanted: "must be 16 to 1024".into() });
    }
    let (digest, blob) = face.engine.open_image(&grant, &path.id, &path.name, path.index).await?;
    // Another version of this server may write other bytes, but the same picture.
    let etag = match size {
        Some(size) => thumbnails::etag_of(&digest, size),
        None => etag_of(&digest),
    };
    if is_known(&headers, &etag) {
        return Ok(not_modified(etag));
    }
    if let Some(png) = size.and_then(|size| face.thumbnails.find(&digest, size)) {
        return Ok(png_answer(png, etag, size));
    }
    let permit = face.images.clone().acquire_owned().await.map_err(|_| Failure::Stopping)?;
    let file = read_whole(blob).await?;
    let png = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        png_from_file(&file, size)
    });
    let png = png.await.unwrap_or_else(|_| Err(Failure::NoImage { why: "the decoder gave up".into() }))?;
    let png = Bytes::from(png);
    if let Some(size) = size {
        face.thumbnails.keep(&digest, size, png.clone());
    }
    Ok(png_answer(png, etag, size))
}

fn png_answer(png: Bytes, etag: HeaderValue, size: Option<u32>) -> Response {
    let mut response = png.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("image/png"));
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("inline"));
    headers.insert(header::ETAG, etag);
    // An image of a channel never changes, but who may see it can. A page draws many thumbnails again and again, so a
    // browser may show those it was given for an hour without asking.
    let keep = if size.is_some() { "private, max-age=3600, immutable" } else { "private, no-cache" };
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(keep));
    response
}

async fn read_whole(blob: BlobRead) -> Result<Vec<u8>, Failure> {
    if blob.size_bytes > limits::IMAGE_BYTES {
        let why = format!("it has {} bytes, at most {} are decoded", blob.size_bytes, limits::IMAGE_BYTES);
        return Err(Failure::NoImage { why });
    }
    let collect = blob.bytes.try_fold(Vec::new(), |mut whole, piece| async move {
        whole.extend_from_slice(&piece);
        Ok(whole)
    });
    collect.await.map_err(|error| Failure::Engine(neptune_engine::Refused::Storage(error.into())))
}

/// Decodes a file within the limits and writes it as PNG, its longer side not above `size`.
fn png_from_file(file: &[u8], size: Option<u32>) -> Result<Vec<u8>, Failure> {
    let refused = |why: String| Failure::NoImage { why };
    let reader = ImageReader::new(Cursor::new(file)).with_guessed_format();
    let mut reader = reader.map_err(|error| refused(error.to_string()))?;
    if reader.format().is_none() {
        return Err(refused("it is none of PNG, JPEG, GIF, WebP, BMP".into()));
    }
    let mut bounds = image::Limits::default();
    bounds.max_image_width = Some(limits::IMAGE_SIDE);
    bounds.max_image_height = Some(limits::IMAGE_SIDE);
    bounds.max_alloc = Some(limits::IMAGE_MEMORY_BYTES);
    reader.limits(bounds);
    let mut image = reader.decode().map_err(|error| refused(error.to_string()))?;
    if let Some(size) = size {
        image = thumbnails::thumbnail(image, size);
    }

    let mut png = Cursor::new(Vec::new());
    let encoder = PngEncoder::new_with_quality(&mut png, CompressionType::Fast, FilterType::Adaptive);
    png_pixels(image).write_with_encoder(encoder).map_err(|error| refused(error.to_string()))?;
    Ok(png.into_inner())
}

/// PNG holds whole numbers; floating-point pixels become 16-bit ones.
fn png_pixels(image: DynamicImage) -> DynamicImage {
    match image {
        DynamicImage::ImageRgb32F(_) => image.into_rgb16().into(),
        DynamicImage::ImageRgba32F(_) => image.into_rgba16().into(),
        whole => whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{ImageFormat, RgbImage};

    fn file(format: ImageFormat, width: u32, height: u32) -> Vec<u8> {
        let pixel = |x, y| image::Rgb([x as u8, y as u8, 7]);
        let mut file = Cursor::new(Vec::new());
        RgbImage::from_fn(width, height, pixel).write_to(&mut file, format).unwrap();
        file.into_inner()
    }

    #[test]
    fn every_format_becomes_png_with_the_same_pixels() {
        for format in [ImageFormat::Png, ImageFormat::Bmp, ImageFormat::WebP] {
            let png = png_from_file(&file(format, 9, 5), None).unwrap();
            assert!(png.starts_with(b"\x89PNG"));
            let image = image::load_from_memory(&png).unwrap().into_rgb8();
            assert_eq!(
                (image.width(), image.height(), image.get_pixel(8, 4).0),
                (9, 5, [8, 4, 7]),
                "{format:?}"
            );
        }
        for format in [ImageFormat::Jpeg, ImageFormat::Gif] {
            let png = png_from_file(&file(format, 9, 5), None).unwrap();
            assert_eq!(image::load_from_memory(&png).unwrap().width(), 9, "{format:?}");
        }
    }

    #[test]
    fn what_is_no_image_is_a_problem() {
        for wrong in [&b""[..], b"<svg onload=alert(1)>", b"%PDF-1.7", b"\x89PNG\r\n\x1a\nrest", b"BM123"] {
            let Err(Failure::NoImage { why }) = png_from_file(wrong, None) else { panic!("{wrong:?}") };
            assert!(!why.is_empty());
        }
        let mut cut = file(ImageFormat::Png, 64, 64);
        cut.truncate(cut.len() / 2);
        assert!(matches!(png_from_file(&cut, None), Err(Failure::NoImage { .. })));
    }

    /// A header that promises 60,000 x 60,000 pixels costs no memory.
    #[test]
    fn a_promise_of_too_many_pixels_is_refused() {
        let mut bomb = file(ImageFormat::Png, 1, 1);
        bomb[16..20].copy_from_slice(&60_000_u32.to_be_bytes());
        bomb[20..24].copy_from_slice(&60_000_u32.to_be_bytes());
        // The header's checksum would be noticed before the sides are.
        let crc = crc_of(&bomb[12..29]);
        bomb[29..33].copy_from_slice(&crc.to_be_bytes());
        let Err(Failure::NoImage { why }) = png_from_file(&bomb, Some(64)) else { panic!("must be refused") };
        assert!(why.to_lowercase().contains("limit"), "{why}");
    }

    fn crc_of(bytes: &[u8]) -> u32 {
        let step = |crc: u32, byte: &u8| {
            (0..8)
                .fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
        };
        !bytes.iter().fold(!0, step)
    }
}
