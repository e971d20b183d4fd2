"""Draws a confusion matrix as an RGB array, with nothing but numpy.

Rows are the true digits, columns the predicted ones; the mean picture of each digit labels its row and
column. A cell's colour is its share of the row: blue where the prediction is right, red where it is wrong.
Its number is the count.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

CELL = 36  # pixels
LINE = 1
LABEL_SCALE = 4  # an 8 x 8 digit becomes 32 x 32 pixels
GLYPH_SCALE = 2

PAPER = np.array([255, 255, 255], dtype=float)
INK = np.array([30, 34, 42], dtype=float)
RIGHT = np.array([24, 90, 188], dtype=float)
WRONG = np.array([205, 38, 38], dtype=float)
GRID = np.array([222, 226, 232], dtype=float)

# 3 x 5 pixels a digit, one row of bits a number.
GLYPHS = [
    (7, 5, 5, 5, 7),
    (2, 6, 2, 2, 7),
    (7, 1, 7, 4, 7),
    (7, 1, 7, 1, 7),
    (5, 5, 7, 1, 1),
    (7, 4, 7, 1, 7),
    (7, 4, 7, 5, 7),
    (7, 1, 1, 1, 1),
    (7, 5, 7, 5, 7),
    (7, 5, 7, 1, 7),
]


def draw_confusion_matrix(counts: Array, prototypes: Array) -> Array:
    """Returns the picture as uint8, height x width x 3.

    `counts` is n x n; `prototypes` is n x 8 x 8 with values from 0 to 1.
    """
    n = len(counts)
    pitch = CELL + LINE
    picture = np.empty(((n + 1) * pitch + LINE,) * 2 + (3,))
    picture[:] = PAPER
    picture[pitch::pitch, pitch:] = GRID
    picture[pitch:, pitch::pitch] = GRID

    for i, prototype in enumerate(prototypes):
        strength = np.kron(prototype, np.ones((LABEL_SCALE, LABEL_SCALE)))[..., None]
        label = PAPER + (INK - PAPER) * strength
        margin = (CELL - len(label)) // 2 + LINE
        at = (i + 1) * pitch + margin
        picture[at : at + len(label), margin : margin + len(label)] = label
        picture[margin : margin + len(label), at : at + len(label)] = label

    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    for row in range(n):
        for column in range(n):
            if counts[row, column]:
                top, left = (row + 1) * pitch + LINE, (column + 1) * pitch + LINE
                cell = picture[top : top + CELL, left : left + CELL]
                _fill(cell, int(counts[row, column]), shares[row, column], RIGHT if row == column else WRONG)
    return picture.round().astype(np.uint8)


def _fill(cell: Array, count: int, share: float, colour: Array) -> None:
    # The square root lifts single mistakes out of the white: 1 of 45 is 15 % of the colour, not 2 %.
    strength = float(np.sqrt(share))
    cell[:] = PAPER + (colour - PAPER) * strength
    number = _number(count)
    top = (CELL - number.shape[0]) // 2
    left = (CELL - number.shape[1]) // 2
    inner = cell[top : top + number.shape[0], left : left + number.shape[1]]
    inner[number] = PAPER if strength > 0.6 else INK


def _number(value: int) -> Array:
    """The decimal digits of a number as a mask."""
    columns = []
    for digit in str(value):
        bits = [[row >> shift & 1 for shift in (2, 1, 0)] for row in GLYPHS[int(digit)]]
        columns += [np.array(bits, dtype=bool), np.zeros((5, 1), dtype=bool)]
    return np.kron(np.hstack(columns[:-1]), np.ones((GLYPH_SCALE, GLYPH_SCALE))).astype(bool)
