//! One channel as the program sees it: what `send` means, and what x is when nothing is said.
//!
//! `send` is the hot path: two plain floats go straight into the client's buffer, and the GIL is let go only when memory
//! is so full that the client may wait for the disk. The GIL orders changes of `next_x`; it is atomic only so that the
//! class can be frozen, which spares a borrow check per call.

use std::borrow::Cow;
use std::fmt::{self, Display};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use neptune_client::writer::{self, ImageChannel, ImageData, NumericChannel, TextChannel};
use neptune_wire::channel::ChannelOrigin;
use neptune_wire::{ChannelKind, ChannelName};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyString};

use crate::error::{InvalidTypeError, InvalidValueError};
use crate::job::JobInternal;
use crate::number::{Argument, f64_from_object};
use crate::offline_log::OfflineLog;
use crate::picture::png_size;

/// x of a channel's first point, if nothing is said.
const FIRST_X: f64 = 1.0;

/// One channel of the process's job.
#[pyclass(subclass, frozen, module = "deepsense.neptune._native")]
pub(crate) struct ChannelInternal {
    name: ChannelName,
    sink: Sink,
    /// Bits of the x that a point without one gets: 1 at first, later one more than the whole part of the last x.
    next_x: AtomicU64,
    log: Option<Arc<OfflineLog>>,
}

enum Sink {
    Numeric(NumericChannel),
    Text(TextChannel),
    Image(ImageChannel),
}

#[pymethods]
impl ChannelInternal {
    /// Opens the channel in the job's session; the same name and kind again is the same channel.
    #[new]
    fn new(job: &JobInternal, name: &str, kind: &str) -> PyResult<Self> {
        let name = ChannelName::new(name).map_err(invalid)?;
        let sink = match kind {
            "numeric" => job.writer.open_numeric(&name, ChannelOrigin::User).map(Sink::Numeric),
            "text" => job.writer.open_text(&name).map(Sink::Text),
            "image" => job.writer.open_images(&name).map(Sink::Image),
            other => return Err(invalid(format_args!("there is no channel type {other:?}"))),
        };
        let sink = sink.map_err(invalid)?;
        Ok(Self { name, sink, next_x: AtomicU64::new(FIRST_X.to_bits()), log: job.log.clone() })
    }

    /// The channel's name.
    #[getter]
    fn name(&self) -> &str {
        self.name.as_str()
    }

    /// `numeric`, `text` or `image`.
    #[getter]
    fn kind(&self) -> &'static str {
        match self.sink {
            Sink::Numeric(_) => ChannelKind::Numeric,
            Sink::Text(_) => ChannelKind::Text,
            Sink::Image(_) => ChannelKind::Image,
        }
        .as_str()
    }

    /// Adds a point; never waits for the network.
    ///
    /// `send(x, y)`, `send(y=y)` or `send(y)`: without x (or with `x=None`) the first point has x = 1.0 and a later one
    /// floor(last x) + 1. x may repeat and may go back; every point is kept.
    #[pyo3(signature = (x = Argument::Missing, y = Argument::Missing), text_signature = "($self, x=..., y=...)")]
    fn send(&self, py: Python<'_>, x: Argument<'_, '_>, y: Argument<'_, '_>) -> PyResult<()> {
        let (x, y) = match (x, y) {
            (Argument::Given(x), Argument::Given(y)) => (self.x_from_object(x)?, y),
            (Argument::Given(y), Argument::Missing) | (Argument::Missing, Argument::Given(y)) => {
                (self.next_x(), y)
            }
            (Argument::Missing, Argument::Missing) => {
                return Err(InvalidTypeError::new_err("send needs a value: send(y) or send(x, y)"));
            }
        };
        match &self.sink {
            Sink::Numeric(channel) => {
                let y = f64_from_object(y).map_err(|error| self.not_a_number("y", y, &error))?;
                match channel.may_wait() {
                    false => channel.send(x, y, writer::now()),
                    true => py.detach(|| channel.send(x, y, writer::now())),
                }
                self.note(x, format_args!("{y:?}"));
            }
            Sink::Text(channel) => {
                let text = self.text_from_object(y)?;
                match channel.may_wait(&text) {
                    false => channel.send(Some(x), &text, writer::now()),
                    true => py.detach(|| channel.send(Some(x), &text, writer::now())),
                }
                self.note(x, OneLine(&text));
            }
            Sink::Image(channel) => {
                let image = self.image_from_object(x, y)?;
                self.note(x, OneLine(&image.name));
                py.detach(|| channel.send(image));
            }
        }
        self.continue_after(x);
        Ok(())
    }

    /// Adds numeric points: both columns are the bytes of 64-bit floats; without `x` the points count on.
    #[pyo3(signature = (x, y))]
    fn _send_columns(&self, py: Python<'_>, x: Option<&[u8]>, y: &[u8]) -> PyResult<()> {
        let Sink::Numeric(channel) = &self.sink else {
            return Err(InvalidTypeError::new_err(format!("channel {:?} is not numeric", self.name())));
        };
        let y = f64s_from_bytes(y);
        let x = match x {
            Some(x) => f64s_from_bytes(x),
            None => std::iter::successors(Some(self.next_x()), |x| Some(x + 1.0)).take(y.len()).collect(),
        };
        if x.len() != y.len() {
            return Err(invalid(format_args!(
                "channel {:?}: x and y must be of one length, found {} and {}",
                self.name(),
                x.len(),
                y.len()
            )));
        }
        py.detach(|| channel.send_many(&x, &y, writer::now()));
        for (x, y) in x.iter().zip(&y) {
            self.note(*x, format_args!("{y:?}"));
        }
        if let Some(last) = x.iter().rfind(|x| x.is_finite()) {
            self.continue_after(*last);
        }
        Ok(())
    }

    /// Lets a point without x have x = 1 again.
    fn _restart_x(&self) {
        self.next_x.store(FIRST_X.to_bits(), Ordering::Relaxed);
    }
}

impl ChannelInternal {
    fn next_x(&self) -> f64 {
        f64::from_bits(self.next_x.load(Ordering::Relaxed))
    }

    fn continue_after(&self, x: f64) {
        if x.is_finite() {
            self.next_x.store((x.floor() + 1.0).to_bits(), Ordering::Relaxed);
        }
    }

    /// Writes the line of a point into the log of a job that works offline.
    fn note(&self, x: f64, y: impl Display) {
        if let Some(log) = &self.log {
            log.write(self.name.as_str(), x, y);
        }
    }

    fn x_from_object(&self, x: Borrowed<'_, '_, PyAny>) -> PyResult<f64> {
        if x.is_none() {
            return Ok(self.next_x());
        }
        f64_from_object(x).map_err(|error| self.not_a_number("x", x, &error))
    }

    /// Any value as text, as `str` makes it.
    fn text_from_object<'a>(&self, y: Borrowed<'a, '_, PyAny>) -> PyResult<Cow<'a, str>> {
        if y.is_none() {
            return Err(self.wrong("y must not be None"));
        }
        match y.cast::<PyString>() {
            // Text that is no Unicode (a lone surrogate of a file's name) is kept as far as it goes.
            Ok(text) => Ok(Cow::Owned(text.to_string_lossy().into_owned())),
            Err(_) => Ok(Cow::Owned(y.str()?.to_string_lossy().into_owned())),
        }
    }

    fn image_from_object(&self, x: f64, y: Borrowed<'_, '_, PyAny>) -> PyResult<ImageData> {
        static ENCODE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let encode = ENCODE.import(y.py(), "deepsense.neptune.image", "encode")?;
        let (name, description, png): (String, String, Bound<'_, PyBytes>) = encode.call1((y,))?.extract()?;
        let bytes = png.as_bytes();
        let (width, height) = png_size(bytes).ok_or_else(|| self.wrong("y is not a whole PNG file"))?;
        let (x, time) = (Some(x), writer::now());
        Ok(ImageData { bytes: bytes.to_vec().into(), x, time, width, height, name, description })
    }

    #[cold]
    fn not_a_number(&self, what: &str, value: Borrowed<'_, '_, PyAny>, error: &PyErr) -> PyErr {
        let py = value.py();
        let shown = value.repr().map_or_else(|_| "a value without repr".to_owned(), |text| shortened(&text));
        let kind = value.get_type().name().map_or_else(|_| "?".to_owned(), |name| name.to_string());
        let message = format!("channel {:?}: {what} must be a number, found {shown} ({kind})", self.name());
        let refused = match value.is_instance_of::<PyString>() {
            true => InvalidValueError::new_err(message),
            false => InvalidTypeError::new_err(message),
        };
        refused.set_cause(py, Some(error.clone_ref(py)));
        refused
    }

    fn wrong(&self, why: &str) -> PyErr {
        InvalidTypeError::new_err(format!("channel {:?}: {why}", self.name()))
    }
}

/// A text with its line ends written out.
struct OneLine<'a>(&'a str);

impl Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, line) in self.0.split('\n').enumerate() {
            f.write_str(if i > 0 { "\\n" } else { "" })?;
            f.write_str(line)?;
        }
        Ok(())
    }
}

fn invalid(why: impl Display) -> PyErr {
    InvalidValueError::new_err(why.to_string())
}

/// Enough of a repr to recognise the value by.
fn shortened(text: &Bound<'_, PyString>) -> String {
    const SHOWN: usize = 60;
    let text = text.to_string_lossy();
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.into_owned(),
    }
}

fn f64s_from_bytes(bytes: &[u8]) -> Vec<f64> {
    bytes.as_chunks().0.iter().map(|number| f64::from_ne_bytes(*number)).collect()
}
