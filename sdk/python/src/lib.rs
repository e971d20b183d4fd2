//! Native half of the Python package `deepsense.neptune`: the client's writer behind two classes.
//!
//! Forgiveness lives in Python (`python/deepsense/neptune`), truth here: one type per argument. The exception is
//! `ChannelInternal::send`, which is called in the innermost loops and therefore takes any number itself. A public class
//! of Python derives from or holds the `…Internal` class of the same name. Waits happen without the GIL.
//!
//! Does not know: frames, sockets, spools (the client's), nor that a database exists.

mod channel;
mod error;
mod exit_status;
mod job;
mod membership;
mod number;
mod offline_log;
mod picture;

use pyo3::prelude::*;

/// Native half of `deepsense.neptune`; programs use what that package exports.
#[pymodule]
mod _native {
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::channel::ChannelInternal;
    #[pymodule_export]
    use crate::job::{JobInternal, checked_tag};
    #[pymodule_export]
    use crate::number::is_number;
    #[pymodule_export]
    use crate::picture::encode_png;

    #[pymodule_init]
    fn add_version(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
