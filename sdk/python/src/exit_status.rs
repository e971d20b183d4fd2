//! The status a process ends with. Python's `atexit` is not told it, C's `on_exit` is.
//!
//! Only the GNU C library has `on_exit`; elsewhere nobody learns the status, and the job is uploaded as one whose end is
//! not known. A process that ends by a signal or by `_exit` runs no handler.

use std::sync::OnceLock;

/// Calls a function once with the status, 0 to 255, when this process ends by `exit`. Forked children call it too.
pub(crate) fn watch(at_exit: impl Fn(i32) + Send + Sync + 'static) {
    static AT_EXIT: OnceLock<Box<dyn Fn(i32) + Send + Sync>> = OnceLock::new();
    if AT_EXIT.set(Box::new(at_exit)).is_err() {
        return;
    }

    #[cfg(target_env = "gnu")]
    {
        use std::ffi::{c_int, c_void};

        unsafe extern "C" {
            fn on_exit(function: extern "C" fn(c_int, *mut c_void), argument: *mut c_void) -> c_int;
        }

        extern "C" fn handler(status: c_int, _: *mut c_void) {
            if let Some(at_exit) = AT_EXIT.get() {
                at_exit(status & 0xff);
            }
        }

        // SAFETY: the signatures are those of `on_exit(3)`, and CPython never unloads an extension module, so the
        // handler is there when the process ends. A panic in it aborts a process that is ending anyway.
        unsafe { on_exit(handler, std::ptr::null_mut()) };
    }
}
