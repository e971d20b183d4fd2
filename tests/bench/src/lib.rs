//! The rows of the speed targets, measured.
