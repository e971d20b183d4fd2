"""Images: a name, a description and a picture, in any of the ways that Python programs hold pictures."""

from __future__ import annotations

import io
import warnings
from typing import Any

from deepsense.neptune._native import encode_png
from deepsense.neptune.errors import InvalidTypeError, InvalidValueError
from deepsense.neptune.text import plain

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

_ACCEPTED = (
    "a PIL image, an array of height x width (x 1, 3 or 4), a matplotlib figure or the bytes of a PNG file"
)
# Modes of PIL whose pixels a PNG holds as they are, and how PNG calls them.
_PIL_COLOURS = {"L": "grey", "LA": "grey-alpha", "RGB": "rgb", "RGBA": "rgba"}
# Modes that PIL itself writes as PNG without loss.
_PIL_EXACT = {"1", "P", "I;16"}
_ARRAY_COLOURS = {1: "grey", 2: "grey-alpha", 3: "rgb", 4: "rgba"}


class Image:
    """A picture with a name and a description, sent to an image channel; stored as PNG.

    `name` and `description` are turned into text. `data` is a PIL image; an array (numpy, torch, TensorFlow,
    …) of height x width or height x width x 1, 3 or 4 with bytes from 0 to 255 or floats from 0 to 1, also
    with the colours first as torch has them; a matplotlib figure; or the bytes of a PNG file. It is read when
    the image is sent.
    """

    __slots__ = ("_data", "_description", "_name")

    def __init__(self, name: object, description: object, data: Any) -> None:
        self._name = plain(name)
        self._description = plain(description)
        if not is_picture(data):
            raise InvalidTypeError(f"data of an image must be {_ACCEPTED}, found {type(data).__name__}")
        self._data = data

    @property
    def name(self) -> str:
        """Shown above the picture."""
        return self._name

    @property
    def description(self) -> str:
        """Shown below the picture."""
        return self._description

    @property
    def data(self) -> Any:
        """The picture as it was given."""
        return self._data

    def __repr__(self) -> str:
        return (
            f"Image(name={self._name!r}, description={self._description!r}, data={type(self._data).__name__})"
        )


def is_picture(data: object) -> bool:
    """Whether `Image` takes it as data."""
    if isinstance(data, bytes):
        return data.startswith(PNG_SIGNATURE)
    return _is_pil(data) or _is_figure(data) or _is_array(data)


def encode(image: object) -> tuple[str, str, bytes]:
    """Name, description and PNG bytes of what was sent to an image channel; a bare picture will do."""
    if not isinstance(image, Image):
        if not is_picture(image):
            raise InvalidTypeError(f"y must be a neptune.Image or {_ACCEPTED}, found {type(image).__name__}")
        image = Image("", "", image)
    return image.name, image.description, _png(image.data)


def _is_pil(data: object) -> bool:
    return all(hasattr(data, name) for name in ("mode", "size", "tobytes", "convert", "save"))


def _is_figure(data: object) -> bool:
    return hasattr(data, "savefig")


def _is_array(data: object) -> bool:
    return hasattr(data, "shape") and (hasattr(data, "__array__") or hasattr(data, "__array_interface__"))


def _png(data: Any) -> bytes:
    if isinstance(data, bytes):
        return data
    if _is_pil(data):
        return _png_of_pil(data)
    if _is_figure(data):
        file = io.BytesIO()
        data.savefig(file, format="png")
        return file.getvalue()
    return _png_of_array(data)


def _png_of_pil(picture: Any) -> bytes:
    if picture.mode == "I":
        picture = picture.convert("I;16")  # all that PNG holds of it
    if picture.mode in _PIL_EXACT:
        file = io.BytesIO()
        picture.save(file, format="PNG")
        return file.getvalue()
    if picture.mode not in _PIL_COLOURS:
        transparent = picture.mode in ("RGBa", "PA", "La")
        picture = picture.convert("RGBA" if transparent else "RGB")
    width, height = picture.size
    return encode_png(width, height, _PIL_COLOURS[picture.mode], picture.tobytes())


def _png_of_array(data: Any) -> bytes:
    # An array at hand means that numpy is there too, imported or cheap to import next to what made the array.
    import numpy

    if hasattr(data, "detach"):
        data = data.detach().cpu()
        if "bfloat16" in str(getattr(data, "dtype", "")):
            data = data.float()
    array = numpy.asarray(data)
    height, width, depth, array = _shaped(array)
    if not (height and width):
        raise InvalidValueError(f"an array of shape {data.shape} has no pixels")
    pixels = numpy.ascontiguousarray(_bytes_from_values(array))
    return encode_png(width, height, _ARRAY_COLOURS[depth], pixels.tobytes())


def _shaped(array: Any) -> tuple[int, int, int, Any]:
    """Height, width, values a pixel, and the array in that order."""
    if array.ndim == 2:
        return array.shape[0], array.shape[1], 1, array
    if array.ndim == 3:
        if array.shape[2] not in _ARRAY_COLOURS and array.shape[0] in _ARRAY_COLOURS:
            array = array.transpose(1, 2, 0)
        if array.shape[2] in _ARRAY_COLOURS:
            height, width, depth = array.shape
            return height, width, depth, array
    raise InvalidValueError(
        f"an array of shape {array.shape} is not a picture: "
        "it must be height x width, or height x width x 1, 3 or 4"
    )


def _bytes_from_values(array: Any) -> Any:
    kind = array.dtype.kind
    if kind == "b":
        return array.astype("uint8") * 255
    if array.dtype == "uint8":
        return array
    if kind in "iu":
        if array.min() < 0 or array.max() > 255:
            _warn_clipped(array, "0..255")
        return array.clip(0, 255).astype("uint8")
    if kind == "f":
        import numpy

        if not (array.min() >= 0.0 and array.max() <= 1.0):
            _warn_clipped(array, "0..1")
            array = numpy.nan_to_num(array, nan=0.0, posinf=1.0, neginf=0.0).clip(0.0, 1.0)
        return (array * 255.0 + 0.5).astype("uint8")
    raise InvalidTypeError(
        f"an array of {array.dtype} is not a picture: it must hold bytes from 0 to 255 or floats from 0 to 1"
    )


def _warn_clipped(array: Any, allowed: str) -> None:
    found = f"{array.min()}..{array.max()}"
    warnings.warn(
        f"values of a picture must lie in {allowed}, found {found}: they were cut to that range", stacklevel=2
    )
