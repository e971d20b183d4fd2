//! Numbers as Python programs hold them: floats and ints without detour, and whatever says that it is one.

use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::type_object::PyTypeInfo as _;
use pyo3::types::{PyFloat, PyInt, PyString};

/// A point's x or y as an argument: `None` in the call is told apart from no argument at all.
pub(crate) enum Argument<'a, 'py> {
    /// Not in the call.
    Missing,
    /// In the call, perhaps `None`.
    Given(Borrowed<'a, 'py, PyAny>),
}

impl<'a, 'py> FromPyObject<'a, 'py> for Argument<'a, 'py> {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        Ok(Self::Given(object))
    }
}

/// Reads a number as `float()` does, and from scalars of numpy, torch, TensorFlow and their like through `item()`,
/// which none of them warns about.
pub(crate) fn f64_from_object(object: Borrowed<'_, '_, PyAny>) -> PyResult<f64> {
    if let Ok(float) = object.cast::<PyFloat>() {
        return Ok(float.value());
    }
    if object.is_exact_instance_of::<PyInt>() {
        return object.extract();
    }
    if !object.is_instance_of::<PyString>()
        && let Some(item) = object.getattr_opt(intern!(object.py(), "item"))?
        && item.is_callable()
    {
        return float(&item.call0()?);
    }
    float(&object)
}

/// `float(object)`; a complex number or an array of several has none.
fn float(object: &Bound<'_, PyAny>) -> PyResult<f64> {
    match object.extract::<f64>() {
        Err(error) if error.is_instance_of::<PyTypeError>(object.py()) => {
            // Text, which C's conversion leaves to `float`.
            PyFloat::type_object(object.py()).call1((object,))?.extract()
        }
        result => result,
    }
}

/// Whether a value can be sent to a numeric channel.
#[pyfunction]
pub(crate) fn is_number(value: &Bound<'_, PyAny>) -> bool {
    f64_from_object(value.as_borrowed()).is_ok()
}
