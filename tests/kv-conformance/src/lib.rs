//! The laws every storage backend obeys, as a test suite.
