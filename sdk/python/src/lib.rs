//! Native half of the Python package deepsense.neptune.
