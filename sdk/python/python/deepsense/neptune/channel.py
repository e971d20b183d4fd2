"""Channels: named series of points.

`send` itself is native (`ChannelInternal.send`), as it is called in the innermost loops: it takes plain
numbers without detour and asks Python only for what is not one.
"""

from __future__ import annotations

import enum
import warnings
from array import array
from typing import Any

from deepsense.neptune._native import ChannelInternal, JobInternal, is_number
from deepsense.neptune.errors import InvalidTypeError, InvalidValueError
from deepsense.neptune.image import Image
from deepsense.neptune.text import plain


class ChannelType(enum.Enum):
    """What the y of a channel is."""

    NUMERIC = "numeric"
    """Anything that `float()` takes; NaN and infinities too."""
    TEXT = "text"
    """Anything; it is turned into text."""
    IMAGE = "image"
    """A `neptune.Image`, or a bare picture."""


class ChannelName(str):
    """A channel's name as a key of the job's channels: a text that also has the attribute `name`."""

    __slots__ = ()

    def __new__(cls, name: object) -> ChannelName:
        return super().__new__(cls, plain(name))

    @property
    def name(self) -> str:
        """The name itself."""
        return str(self)


class Channel(ChannelInternal):
    """A named series of points (x, y). Made by `create_channel`; `send` adds a point and never waits.

    ``send(x, y)``, ``send(y=y)`` or ``send(y)``: without x (or with ``x=None``) the first point has x = 1.0
    and a later one floor(last x) + 1. x may repeat and may go back; every point is kept.
    """

    # Programs replace `send` on an instance, so there is no `__slots__`: the instance needs its `__dict__`.

    def __new__(cls, core: JobInternal, name: str, kind: ChannelType) -> Channel:
        return super().__new__(cls, core, name, kind.value)

    @property
    def type(self) -> ChannelType:
        """What y is."""
        return ChannelType(self.kind)

    def send_array(self, x: Any = None, y: Any = None) -> None:
        """Adds many numeric points at once: ``send_array(x, y)`` or ``send_array(values)``.

        Both are sequences or one-dimensional arrays of one length. Without x the points count on as with
        `send`; ``send_array(y=values)`` says the same.
        """
        if y is None:
            x, y = None, x
        if self.type is not ChannelType.NUMERIC:
            raise InvalidTypeError(
                f'send_array needs a numeric channel, "{self.name}" is of type {self.kind}'
            )
        self._send_columns(None if x is None else _column("x", x), _column("y", y))

    def reset(self) -> None:
        """Lets x start again at 1.0.

        The points that were sent stay: this version of Neptune cannot take them back.
        """
        warnings.warn(
            f'channel "{self.name}": reset lets x start again, but the points sent so far stay', stacklevel=2
        )
        self._restart_x()

    def delete(self) -> None:
        """Not available yet."""
        raise NotImplementedError(
            f'channel "{self.name}" cannot be deleted by the program in this version of Neptune; '
            "one that is no longer wanted can be left alone"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        # In another process of the job it is the channel of that name there.
        return _channel_of_this_process, (self.name, self.type)

    def __repr__(self) -> str:
        return f"Channel(name={self.name!r}, type={self.type})"


def channel_type(value: object) -> ChannelType:
    """The type that a program named, by member or by text."""
    if isinstance(value, ChannelType):
        return value
    if isinstance(value, str):
        try:
            return ChannelType(value.lower())
        except ValueError:
            pass
    raise InvalidTypeError(
        f"channel_type must be neptune.ChannelType.NUMERIC, .TEXT or .IMAGE, found {value!r}"
    )


def channel_type_for(y: object) -> ChannelType:
    """The type of a channel that begins with this value.

    An image; else numeric, if `float()` takes it (so the text "0.5" makes a numeric channel); else text.
    """
    if y is None:
        raise InvalidTypeError("y must not be None")
    if isinstance(y, Image):
        return ChannelType.IMAGE
    return ChannelType.NUMERIC if is_number(y) else ChannelType.TEXT


def _channel_of_this_process(name: str, kind: ChannelType) -> Channel:
    from deepsense.neptune.process import current_job

    return current_job().create_channel(name, kind)


def _column(name: str, values: Any) -> bytes:
    """A sequence or a one-dimensional array as the bytes of 64-bit floats."""
    if hasattr(values, "detach"):  # torch
        values = values.detach().cpu()
        if "bfloat16" in str(getattr(values, "dtype", "")):
            values = values.float()
    if hasattr(values, "numpy"):  # torch, TensorFlow
        values = values.numpy()
    elif hasattr(values, "to_numpy"):  # pandas
        values = values.to_numpy()
    shape = getattr(values, "shape", None)
    if shape is not None and len(shape) != 1:
        raise InvalidValueError(f"{name} must have one dimension, found the shape {tuple(shape)}")
    try:
        if hasattr(values, "astype"):
            return bytes(values.astype("float64").tobytes())
        return array("d", values).tobytes()
    except (TypeError, ValueError) as error:
        raise InvalidTypeError(f"{name} must be numbers in one dimension: {error}") from None
