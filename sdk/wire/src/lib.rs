//! Nouns and contract v1: REST shapes, WebSocket messages, binary frames.
