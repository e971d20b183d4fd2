"""Pictures in, PNG out: the pixels that were given are the pixels that are read back."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pil

from deepsense import neptune
from deepsense.neptune.image import encode

Array = Any


def pixels_of(picture: Any) -> Array:
    name, description, png = encode(neptune.Image("a name", "a description", picture))
    assert (name, description) == ("a name", "a description")
    with Pil.open(io.BytesIO(png)) as image:
        assert image.format == "PNG"
        return np.asarray(image)


def noise(*shape: int) -> Array:
    return np.random.default_rng(7).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3), (5, 7, 4), (1, 1), (300, 200, 3)])
def test_bytes_are_kept(shape: tuple[int, ...]) -> None:
    array = noise(*shape)
    assert (pixels_of(array) == array).all()


def test_one_colour_and_colours_first() -> None:
    array = noise(5, 7, 1)
    assert (pixels_of(array) == array[..., 0]).all()
    array = noise(3, 50, 60)
    assert (pixels_of(array) == array.transpose(1, 2, 0)).all()


def test_arrays_need_not_be_contiguous() -> None:
    array = noise(20, 30, 3)[::2, ::-3]
    assert (pixels_of(array) == array).all()
    array = np.asfortranarray(noise(20, 30))
    assert (pixels_of(array) == array).all()


@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
def test_floats_go_from_0_to_1(kind: str) -> None:
    array = np.array([[0.0, 0.5, 1.0]], dtype=kind)
    assert pixels_of(array).tolist() == [[0, 128, 255]]


def test_other_whole_numbers_and_booleans() -> None:
    assert pixels_of(np.array([[0, 255]])).tolist() == [[0, 255]]
    assert pixels_of(np.array([[True, False]])).tolist() == [[255, 0]]


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.array([[-0.5, 2.0, np.nan, np.inf]]), [[0, 255, 0, 255]]),
        (np.array([[-1, 300]]), [[0, 255]]),
    ],
)
def test_what_lies_outside_is_cut_with_a_warning(array: Array, expected: list[list[int]]) -> None:
    with pytest.warns(UserWarning, match="must lie in 0.*were cut"):
        assert pixels_of(array).tolist() == expected


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I", "I;16"])
def test_pil_modes_that_png_has_are_kept(mode: str) -> None:
    image = Pil.fromarray(noise(5, 7, 3)).convert("L" if mode.startswith("I") else mode.replace("LA", "L"))
    image = image.convert(mode) if mode != "I;16" else Pil.fromarray(noise(5, 7).astype(np.uint16) * 200)
    _, _, png = encode(neptune.Image("", "", image))
    with Pil.open(io.BytesIO(png)) as again:
        assert (np.asarray(again.convert("RGBA")) == np.asarray(image.convert("RGBA"))).all()


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "HSV", "F"])
def test_other_pil_modes_become_rgb(mode: str) -> None:
    image = Pil.fromarray(noise(5, 7, 3)).convert("L" if mode == "F" else "RGB").convert(mode)
    assert (pixels_of(image) == np.asarray(image.convert("RGB"))).all()


def test_figures_and_png_files() -> None:
    class Figure:
        """As much of matplotlib's figure as is used, so that matplotlib need not be installed."""

        def savefig(self, file: Any, format: str) -> None:
            Pil.fromarray(noise(4, 4)).save(file, format=format)

    assert (pixels_of(Figure()) == noise(4, 4)).all()
    file = io.BytesIO()
    Pil.fromarray(noise(4, 4)).save(file, format="PNG")
    assert (pixels_of(file.getvalue()) == noise(4, 4)).all()


def test_tensors_are_taken_by_their_manners() -> None:
    class Tensor:
        """As much of a torch tensor as is used, so that torch need not be installed."""

        def __init__(self, array: Array) -> None:
            self.array = array
            self.shape = array.shape
            self.detached = False

        def detach(self) -> Tensor:
            self.detached = True
            return self

        def cpu(self) -> Tensor:
            assert self.detached
            return self

        def __array__(self, dtype: Any = None, copy: Any = None) -> Array:
            assert self.detached
            return self.array

    assert (pixels_of(Tensor(noise(3, 8, 9))) == noise(3, 8, 9).transpose(1, 2, 0)).all()


@pytest.mark.parametrize("data", ["file.png", None, 5, b"GIF89a", [[1, 2]]])
def test_what_is_no_picture_is_refused(data: object) -> None:
    with pytest.raises(neptune.InvalidTypeError, match="must be a PIL image.*found"):
        neptune.Image("", "", data)


@pytest.mark.parametrize("shape", [(5,), (5, 7, 5), (2, 5, 7, 3), (0, 5)])
def test_shapes_that_are_no_picture_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(neptune.InvalidValueError, match="array of shape"):
        encode(neptune.Image("", "", np.zeros(shape, dtype=np.uint8)))


def test_complex_numbers_are_no_picture() -> None:
    with pytest.raises(TypeError, match="complex128 is not a picture"):
        encode(neptune.Image("", "", np.zeros((2, 2), dtype=complex)))


def test_image_attributes_are_read_only() -> None:
    picture = noise(2, 2)
    image = neptune.Image("a", "b", picture)
    assert image.data is picture
    with pytest.raises(AttributeError):
        image.name = "other"  # type: ignore[misc]
