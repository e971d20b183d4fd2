//! Tables, keys, encodings, frame log and blobs over ordered bytes.
