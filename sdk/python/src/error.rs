//! The package's own errors (`deepsense/neptune/errors.py`), raised from here.

pyo3::import_exception!(deepsense.neptune.errors, InvalidTypeError);
pyo3::import_exception!(deepsense.neptune.errors, InvalidValueError);
