//! Real server, real programs, real browser.
