"""What the library raises: for mistakes in the program, never for trouble with the network or a disk.

Each error is also the built-in error that a Python programmer would expect there.
"""

from __future__ import annotations


class NeptuneException(Exception):
    """The base of all errors of this library."""


class InvalidTypeError(NeptuneException, TypeError):
    """A value of a type that does not fit."""


class InvalidValueError(NeptuneException, ValueError):
    """A value of the right type that breaks a rule, such as a tag with blanks."""


class DuplicateChannelError(NeptuneException, ValueError):
    """A channel of that name exists and is of another type."""


class DuplicateChartError(NeptuneException, ValueError):
    """A chart of that name exists and shows other series."""


class MissingParameterError(NeptuneException, AttributeError, KeyError):
    """The job has no parameter of that name."""

    def __str__(self) -> str:
        # KeyError shows the repr of its message, which puts quotes around a sentence.
        return Exception.__str__(self)


class ReadOnlyError(NeptuneException, AttributeError, TypeError):
    """A parameter was assigned to or deleted."""
