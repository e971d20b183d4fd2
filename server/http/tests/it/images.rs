//! Images and their thumbnails, from a writer's frame to the picture.

use std::io::Cursor;

use image::{ImageFormat, RgbImage};
use neptune_engine::{Access, IngestEvent};
use neptune_http::now;
use neptune_wire::frame::{FrameBuilder, ImageRecord};
use neptune_wire::ingest::OpenChannel;
use neptune_wire::{AttemptNumber, ChannelKind, ChannelName, ChannelOrigin, Digest, SessionId};

use crate::world::{SOON, World};

/// Writes images of these files to the channel `sample` of TRIG-1.
async fn write_images(world: &World, files: &[&[u8]]) {
    let id = SessionId::from_bytes([1; 16]);
    let grant = world.engine.access(Access::OpenLoopback).await.unwrap();
    let (mut sink, mut events) = world.engine.open_ingest(&grant);
    sink.open_session(id, &"TRIG-1".parse().unwrap(), AttemptNumber(1), now()).await.unwrap();
    let name = ChannelName::new("sample").unwrap();
    let channel = OpenChannel { number: 0, name, kind: ChannelKind::Image, origin: ChannelOrigin::User };
    sink.open_channels(id, vec![channel], now()).await.unwrap();
    let mut frame = FrameBuilder::new(id, 1);
    for file in files {
        let digest: Digest = world.put_blob(file).await.parse().unwrap();
        let (name, description) = (String::new(), String::new());
        let size_bytes = file.len() as u64;
        let image =
            ImageRecord { x: 0.0, time: 0, digest, width: 1, height: 1, size_bytes, name, description };
        assert!(frame.push_image(0, &image));
    }
    sink.submit_frame(frame.finish().into(), now()).await;
    let acked = tokio::time::timeout(SOON, events.next()).await.unwrap().unwrap();
    assert!(matches!(acked, IngestEvent::Acked { acked: 1, .. }), "{acked:?}");
}

#[tokio::test]
async fn a_thumbnail_is_small_kept_and_known_by_its_tag() {
    let world = World::new().await;
    world.with_running_job().await;
    let mut wide = Cursor::new(Vec::new());
    let picture = RgbImage::from_fn(800, 200, |x, y| image::Rgb([x as u8, y as u8, 7]));
    picture.write_to(&mut wide, ImageFormat::Png).unwrap();
    write_images(&world, &[wide.get_ref(), b"no image"]).await;
    let path = "/api/v1/jobs/TRIG-1/channels/sample/images/0";

    let whole = world.get(path).await.expect(200);
    assert_eq!(image::load_from_memory(&whole.body).unwrap().width(), 800);
    let small = world.get(&format!("{path}?size=100")).await.expect(200);
    assert_eq!((small.header("content-type"), small.header("content-disposition")), ("image/png", "inline"));
    assert_eq!(small.header("cache-control"), "private, max-age=3600, immutable");
    let decoded = image::load_from_memory(&small.body).unwrap();
    assert_eq!((decoded.width(), decoded.height()), (100, 25));
    let again = world.get(&format!("{path}?size=100")).await.expect(200);
    assert_eq!(again.body, small.body);
    let tag = small.header("etag");
    assert_ne!(tag, whole.header("etag"));
    let known = world.get_with(&format!("{path}?size=100"), "if-none-match", tag).await.expect(304);
    assert_eq!((known.body.len(), known.header("etag")), (0, tag));
    world.get_with(&format!("{path}?size=99"), "if-none-match", tag).await.expect(200);

    for (query, problem) in [
        ("size=15", "400 invalid-field [size] must be 16 to 1024"),
        ("size=1025", "400 invalid-field [size] must be 16 to 1024"),
        ("size=big", "400 invalid-field [size] must be a whole number, not negative"),
    ] {
        assert_eq!(world.get(&format!("{path}?{query}")).await.problem(), problem);
    }
    let none = world.get("/api/v1/jobs/TRIG-1/channels/sample/images/1?size=64").await.expect(422).problem();
    assert!(none.starts_with("422 not-an-image "), "{none}");
    world.get("/api/v1/jobs/TRIG-1/channels/sample/images/2?size=64").await.expect(404);
}
