//! `docs/protocol.md` tells the truth: its bytes are the fixture's, its program runs.

use crate::world::{SOON, Served};

const PAGE: &str = include_str!("../../../../docs/protocol.md");
const FIXTURE: &[u8] = include_bytes!("../../../../sdk/wire/fixtures/frame-v1.bin");

/// The text between the line that begins a block and the one that ends it.
fn block(begin: &str) -> &'static str {
    PAGE.split(begin).nth(1).unwrap().split("\n```").next().unwrap()
}

#[test]
fn the_annotated_frame_is_the_fixture() {
    let is_byte = |word: &&str| word.len() == 2 && word.bytes().all(|digit| digit.is_ascii_hexdigit());
    let mut bytes = Vec::new();
    for line in block("```\n000  ").lines() {
        // Every line but the first, whose offset the search took, begins with its offset.
        let offset = line.split_whitespace().next().filter(|word| word.len() == 3);
        if let Some(offset) = offset {
            assert_eq!(usize::from_str_radix(offset, 16), Ok(bytes.len()), "{line}");
        }
        let words = line.split_whitespace().skip(offset.map_or(0, |_| 1)).take_while(is_byte);
        bytes.extend(words.map(|word| u8::from_str_radix(word, 16).unwrap()));
    }
    assert_eq!(bytes, FIXTURE);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_program_runs() {
    let served = Served::new().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("writer.py");
    std::fs::write(&file, block("```python\n")).unwrap();
    let url = format!("http://127.0.0.1:{}", served.address.port());
    let running = tokio::task::spawn_blocking(move || {
        std::process::Command::new("python3").arg(file).arg(url).output().expect("python3 is in PATH")
    });
    let output = tokio::time::timeout(SOON, running).await.expect("it ends soon").unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let expected = "succeeded\n1000 [0.0, 0.01999866669333308] NaN\n";
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{errors}");
}
