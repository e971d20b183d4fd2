//! HTTP and WebSocket face of the engine, and the web UI's files.
