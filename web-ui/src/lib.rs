//! The web page: jobs, live charts, logs, images.
