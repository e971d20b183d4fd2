"""Channels: what send takes, what x becomes, which errors a mistake gets. Read back from the offline log."""

from __future__ import annotations

import array
import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from deepsense import neptune
from deepsense.neptune import ChannelType

Points = Callable[[neptune.Channel], list[tuple[str, str]]]


@pytest.fixture
def channel(ctx: neptune.Context, name: str) -> neptune.Channel:
    return ctx.create_channel(name, ChannelType.NUMERIC)


@pytest.mark.parametrize("y", [0.1, -0.0, math.inf, -math.inf, 5e-324, 1.7976931348623157e308, 3, -7, True])
def test_numbers_arrive_as_they_are(channel: neptune.Channel, points: Points, y: float) -> None:
    channel.send(1.5, y)
    ((x, text),) = points(channel)
    assert float(x) == 1.5
    assert math.copysign(1.0, float(text)) == math.copysign(1.0, y)
    assert float(text) == y


def test_nan_is_kept(channel: neptune.Channel, points: Points) -> None:
    channel.send(1, math.nan)
    assert points(channel) == [("1.0", "NaN")]


class Scalar:
    """A value that only says `item`, like a tensor."""

    def __init__(self, value: object) -> None:
        self.value = value

    def item(self) -> object:
        return self.value


class Float:
    """A value that only says `__float__`."""

    def __float__(self) -> float:
        return 2.5


@pytest.mark.parametrize(
    "y",
    [
        np.float64(2.5),
        np.float32(2.5),
        np.float16(2.5),
        np.array(2.5),
        np.array([2.5]),
        np.array([[2.5]], dtype="float32"),
        Scalar(2.5),
        Float(),
        "2.5",
        " 2.5 ",
        "25e-1",
    ],
)
def test_what_is_a_number_to_python_is_one(channel: neptune.Channel, points: Points, y: object) -> None:
    channel.send(y, y)
    channel.send(y)
    assert points(channel) == [("2.5", "2.5"), ("3.0", "2.5")]


def test_x_counts_on_from_the_last(channel: neptune.Channel, points: Points) -> None:
    channel.send("0.5")
    channel.send(y=0)
    channel.send(7.9, 0)
    channel.send(0)
    channel.send(-3, 0)
    channel.send(None, 0)
    channel.send(x=None, y=0)
    channel.send(math.inf, 0)
    channel.send(0)
    assert [x for x, _ in points(channel)] == [
        "1.0",
        "2.0",
        "7.9",
        "8.0",
        "-3.0",
        "-2.0",
        "-1.0",
        "inf",
        "0.0",
    ]


def test_reset_lets_x_start_again_and_says_that_points_stay(
    ctx: neptune.Context, channel: neptune.Channel, points: Points
) -> None:
    channel.send(5, 0)
    with pytest.warns(UserWarning, match="points sent so far stay"):
        channel.reset()
    channel.send(0)
    channel.send(0)
    with pytest.warns(UserWarning):
        ctx.channel_reset(channel.name)
    channel.send(0)
    assert [x for x, _ in points(channel)] == ["5.0", "1.0", "2.0", "1.0"]
    with pytest.warns(UserWarning, match="no channel"):
        ctx.channel_reset("never made")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((1, None), TypeError, r'channel "test_.*": y must be a number, found None \(NoneType\)'),
        ((None,), TypeError, "y must be a number, found None"),
        ((1, {"a": 1}), TypeError, r"y must be a number, found \{'a': 1\} \(dict\)"),
        ((1, "abc"), ValueError, r"y must be a number, found 'abc' \(str\)"),
        (("abc", 1), ValueError, r"x must be a number, found 'abc' \(str\)"),
        (([1], 1), TypeError, r"x must be a number, found \[1\] \(list\)"),
        ((1, 1j), TypeError, "y must be a number, found 1j"),
        ((1, np.array([1.0, 2.0])), TypeError, r"y must be a number, found array\(\[1., 2.\]\) \(ndarray\)"),
        ((1, "x" * 500), ValueError, "found 'x{59}…"),
        ((), TypeError, "send needs a value"),
    ],
)
def test_what_is_no_number_is_named(
    channel: neptune.Channel, arguments: tuple[Any, ...], error: type[Exception], message: str
) -> None:
    with pytest.raises(neptune.NeptuneException, match=message) as caught:
        channel.send(*arguments)
    assert isinstance(caught.value, error)
    channel.send(1, 1)


def test_a_number_too_large_for_a_double_is_refused(channel: neptune.Channel) -> None:
    with pytest.raises(neptune.NeptuneException, match="y must be a number, found 1000"):
        channel.send(10**400)


def test_unknown_keywords_are_refused(channel: neptune.Channel) -> None:
    with pytest.raises(TypeError, match="step"):
        channel.send(step=1, y=2)  # type: ignore[call-arg]


def test_text_is_whatever_str_makes(ctx: neptune.Context, name: str, points: Points) -> None:
    channel = ctx.create_channel(name, ChannelType.TEXT)
    for y in ("größe 日本", "", 5, {"a": [1]}, "two\nlines", "lone \udc80"):
        channel.send(y)
    expected = ["größe 日本", "", "5", "{'a': [1]}", "two\\nlines", "lone �"]
    texts = [text for _, text in points(channel)]
    assert texts[:5] == expected[:5]
    assert texts[5].startswith("lone �")
    with pytest.raises(neptune.InvalidTypeError, match="must not be None"):
        channel.send(1, None)


def test_images_are_sent_with_and_without_a_name(ctx: neptune.Context, name: str, points: Points) -> None:
    channel = ctx.create_channel(name, ChannelType.IMAGE)
    picture = np.zeros((4, 4), dtype=np.uint8)
    channel.send(neptune.Image("named", "", picture))
    channel.send(5, picture)
    assert points(channel) == [("1.0", "named"), ("5.0", "")]
    with pytest.raises(neptune.InvalidTypeError, match=r"y must be a neptune.Image or .* found float"):
        channel.send(1, 0.5)


@pytest.mark.parametrize(
    ("y", "kind"),
    [
        (0.5, ChannelType.NUMERIC),
        (True, ChannelType.NUMERIC),
        ("0.5", ChannelType.NUMERIC),
        ("nan", ChannelType.NUMERIC),
        (np.float32(1), ChannelType.NUMERIC),
        (Float(), ChannelType.NUMERIC),
        ("epoch 1", ChannelType.TEXT),
        ({"loss": 1}, ChannelType.TEXT),
        ([1.0], ChannelType.TEXT),
        (1j, ChannelType.TEXT),
        (neptune.Image("", "", np.zeros((2, 2))), ChannelType.IMAGE),
    ],
)
def test_a_new_channel_is_of_the_type_of_its_first_value(
    ctx: neptune.Context, name: str, y: object, kind: ChannelType
) -> None:
    channel = ctx.channel_send(name, y)
    assert channel.type is kind
    assert channel.name == name
    assert ctx.create_channel(name, kind) is channel


def test_a_new_channel_cannot_begin_with_none(ctx: neptune.Context, name: str) -> None:
    with pytest.raises(neptune.InvalidTypeError, match="must not be None"):
        ctx.channel_send(name, 1, None)
    with pytest.raises(TypeError, match="needs a value"):
        ctx.channel_send(name)


def test_one_name_has_one_type(ctx: neptune.Context, channel: neptune.Channel) -> None:
    assert ctx.create_channel(channel.name, ChannelType.NUMERIC) is channel
    assert ctx.create_channel(channel.name, "numeric") is channel
    with pytest.raises(neptune.DuplicateChannelError, match="is of type numeric, it cannot be text too"):
        ctx.create_channel(channel.name, ChannelType.TEXT)


@pytest.mark.parametrize("name", ["", " loss", "loss ", "a\nb", "x" * 257, "sys/cpu"])
def test_a_bad_name_says_the_rule(ctx: neptune.Context, name: str) -> None:
    with pytest.raises(neptune.InvalidValueError, match="channel"):
        ctx.create_channel(name, ChannelType.NUMERIC)


@pytest.mark.parametrize("kind", ["number", None, 5, ChannelType])
def test_a_bad_type_says_the_types_there_are(ctx: neptune.Context, name: str, kind: Any) -> None:
    with pytest.raises(neptune.InvalidTypeError, match="ChannelType.NUMERIC, .TEXT or .IMAGE"):
        ctx.create_channel(name, kind)


@pytest.mark.parametrize(
    "make",
    [
        list,
        tuple,
        range,
        np.array,
        lambda values: np.array(values, dtype="float32"),
        lambda values: np.array(values, dtype="int64"),
        lambda values: np.array([values, values]).T[:, 0],
        lambda values: array.array("d", values),
        lambda values: array.array("i", values),
        lambda values: iter(values),
    ],
)
def test_many_points_at_once(channel: neptune.Channel, points: Points, make: Callable[[Any], Any]) -> None:
    values = 3 if make is range else [0, 1, 2]
    channel.send_array(make(values), make(values))
    channel.send_array(make(values))
    channel.send_array(y=make(values))
    channel.send(9)
    xs = ["0.0", "1.0", "2.0", "3.0", "4.0", "5.0", "6.0", "7.0", "8.0", "9.0"]
    ys = ["0.0", "1.0", "2.0"] * 3 + ["9.0"]
    assert points(channel) == list(zip(xs, ys, strict=True))


def test_no_points_at_once(channel: neptune.Channel, points: Points) -> None:
    channel.send_array([], [])
    channel.send_array([])
    channel.send(0)
    assert points(channel) == [("1.0", "0.0")]


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        ([1, 2], [1], "must be of one length, found 2 and 1"),
        (None, np.zeros((2, 2)), r"y must have one dimension, found the shape \(2, 2\)"),
        (["a"], [1], "x must be numbers in one dimension"),
        (None, [[1]], "y must be numbers in one dimension"),
        (None, 5, "y must be numbers in one dimension"),
        (None, None, "y must be numbers in one dimension"),
    ],
)
def test_columns_that_are_none_are_named(channel: neptune.Channel, x: Any, y: Any, message: str) -> None:
    with pytest.raises(neptune.NeptuneException, match=message):
        channel.send_array(x, y)


def test_only_numbers_come_in_columns(ctx: neptune.Context, name: str) -> None:
    with pytest.raises(neptune.InvalidTypeError, match="is of type text"):
        ctx.create_channel(name, ChannelType.TEXT).send_array([1, 2])


def test_charts_are_made_of_numeric_channels(
    ctx: neptune.Context, channel: neptune.Channel, name: str
) -> None:
    chart = ctx.create_chart(name, {"a": channel, "b": "made later"})
    assert dict(chart.series) == {"a": channel.name, "b": "made later"}
    assert ctx.job.create_chart(name=name, series={"a": channel, "b": "made later"}) is chart
    assert dict(ctx.create_chart(name + " empty", {}).series) == {}
    with pytest.raises(neptune.DuplicateChartError, match="shows other series"):
        ctx.create_chart(name, {"a": channel})
    text = ctx.create_channel(name + " text", ChannelType.TEXT)
    with pytest.raises(neptune.InvalidTypeError, match="is of type text, charts show numeric"):
        ctx.create_chart(name + " 2", {"a": text})
    with pytest.raises(neptune.InvalidTypeError, match="a series is a channel, found int"):
        ctx.create_chart(name + " 3", {"a": 5})  # type: ignore[dict-item]
    with pytest.raises(neptune.InvalidValueError, match="chart name"):
        ctx.create_chart("", {})


def test_contexts_and_channels_are_given_to_other_processes(
    ctx: neptune.Context, channel: neptune.Channel
) -> None:
    assert pickle.loads(pickle.dumps(channel)) is channel
    assert pickle.loads(pickle.dumps(ctx)).job is ctx.job
