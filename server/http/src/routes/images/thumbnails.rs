//! Small pictures of images, and those that were made lately: a strip of them is drawn again and again.

use axum::http::HeaderValue;
use bytes::Bytes;
use image::DynamicImage;
use neptune_wire::Digest;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::limits;

/// What an entry costs besides its bytes.
const ENTRY_BYTES: u64 = 128;
/// About as long as a thumbnail is, to say how many are kept.
const USUAL_BYTES: u64 = 16 << 10;

/// Thumbnails by their image's digest and their size; they never change. The least useful ones go.
#[derive(Debug)]
pub(crate) struct Thumbnails(Cache<(Digest, u32), Bytes, ByBytes>);

#[derive(Debug, Clone)]
struct ByBytes;

impl Weighter<(Digest, u32), Bytes> for ByBytes {
    fn weight(&self, _: &(Digest, u32), png: &Bytes) -> u64 {
        png.len() as u64 + ENTRY_BYTES
    }
}

impl Thumbnails {
    pub(crate) fn new() -> Thumbnails {
        let items = (limits::THUMBNAIL_BYTES / USUAL_BYTES) as usize;
        Thumbnails(Cache::with_weighter(items, limits::THUMBNAIL_BYTES, ByBytes))
    }

    pub(super) fn find(&self, digest: &Digest, size: u32) -> Option<Bytes> {
        self.0.get(&(*digest, size))
    }

    pub(super) fn keep(&self, digest: &Digest, size: u32, png: Bytes) {
        self.0.insert((*digest, size), png);
    }
}

/// A strong tag for a thumbnail.
pub(super) fn etag_of(digest: &Digest, size: u32) -> HeaderValue {
    HeaderValue::from_str(&format!("\"{digest}-{size}\"")).expect("a digest is hexadecimal")
}

/// The image in its own proportions with neither side above `size`, never larger than it is, with 8 bits a channel.
///
/// Cost: one pass over its pixels; memory for the small one.
pub(super) fn thumbnail(image: DynamicImage, size: u32) -> DynamicImage {
    let small = if image.width().max(image.height()) > size { image.thumbnail(size, size) } else { image };
    match small {
        DynamicImage::ImageLuma16(_) => small.into_luma8().into(),
        DynamicImage::ImageLumaA16(_) => small.into_luma_alpha8().into(),
        DynamicImage::ImageRgb16(_) | DynamicImage::ImageRgb32F(_) => small.into_rgb8().into(),
        DynamicImage::ImageRgba16(_) | DynamicImage::ImageRgba32F(_) => small.into_rgba8().into(),
        small => small,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use image::codecs::gif::GifEncoder;
    use image::{Delay, Frame, ImageBuffer, ImageFormat, Luma, Rgb, Rgba, RgbaImage};

    use super::super::png_from_file;
    use super::*;
    use crate::failure::Failure;

    fn file(image: DynamicImage) -> Vec<u8> {
        let mut file = Cursor::new(Vec::new());
        image.write_to(&mut file, ImageFormat::Png).unwrap();
        file.into_inner()
    }

    fn small(file: &[u8], size: u32) -> DynamicImage {
        image::load_from_memory(&png_from_file(file, Some(size)).unwrap()).unwrap()
    }

    fn check(width: u32, height: u32, size: u32, expected: (u32, u32)) {
        let image = ImageBuffer::from_pixel(width, height, Rgb([200_u8, 100, 50])).into();
        let small = small(&file(image), size);
        assert_eq!((small.width(), small.height()), expected, "{width} x {height} at {size}");
        assert_eq!(small.into_rgb8().get_pixel(0, 0).0, [200, 100, 50]);
    }

    #[test]
    fn proportions_are_kept_and_nothing_grows() {
        check(1_000, 500, 256, (256, 128));
        check(500, 1_000, 256, (128, 256));
        check(256, 256, 256, (256, 256));
        check(1, 1, 256, (1, 1));
        check(9, 5, 16, (9, 5));
        check(16_000, 1, 256, (256, 1));
        check(1, 16_000, 16, (1, 16));
    }

    #[test]
    fn sixteen_bits_become_eight() {
        let image: ImageBuffer<Luma<u16>, Vec<u16>> = ImageBuffer::from_pixel(600, 300, Luma([0x8080]));
        let small = small(&file(image.into()), 100);
        let DynamicImage::ImageLuma8(small) = small else { panic!("{:?}", small.color()) };
        assert_eq!((small.width(), small.height(), small.get_pixel(50, 20).0), (100, 50, [0x80]));
        let image: ImageBuffer<Rgba<u16>, Vec<u16>> =
            ImageBuffer::from_pixel(20, 20, Rgba([0xffff, 0, 0, 0x4040]));
        let small = super::tests::small(&file(image.into()), 16);
        assert_eq!(small.into_rgba8().get_pixel(3, 3).0, [255, 0, 0, 0x40]);
    }

    #[test]
    fn of_an_animation_the_first_picture_is_shown() {
        let mut gif = Vec::new();
        let mut encoder = GifEncoder::new(&mut gif);
        for red in [255, 0] {
            let picture = RgbaImage::from_pixel(64, 32, Rgba([red, 0, 0, 255]));
            let delay = Delay::from_numer_denom_ms(100, 1);
            encoder.encode_frame(Frame::from_parts(picture, 0, 0, delay)).unwrap();
        }
        drop(encoder);
        let small = small(&gif, 32);
        assert_eq!((small.width(), small.height()), (32, 16));
        assert_eq!(small.into_rgba8().get_pixel(5, 5).0, [255, 0, 0, 255]);
    }

    #[test]
    fn what_is_no_image_has_no_thumbnail() {
        for wrong in [&b""[..], b"<svg/>", b"\x89PNG\r\n\x1a\nrest"] {
            assert!(matches!(png_from_file(wrong, Some(64)), Err(Failure::NoImage { .. })));
        }
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let kept = Thumbnails::new();
        let png = Bytes::from(vec![7; 1 << 20]);
        for size in 0..100 {
            kept.keep(&Digest::from_bytes([1; 32]), size, png.clone());
        }
        let found = (0..100).filter(|size| kept.find(&Digest::from_bytes([1; 32]), *size).is_some()).count();
        assert!((1..=32).contains(&found), "{found}");
        kept.keep(&Digest::from_bytes([2; 32]), 5, "small".into());
        assert_eq!(kept.find(&Digest::from_bytes([2; 32]), 5).unwrap(), "small");
        assert_eq!(kept.find(&Digest::from_bytes([2; 32]), 6), None);
    }
}
