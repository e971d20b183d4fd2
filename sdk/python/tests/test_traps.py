"""What programs written for the original do, and what must therefore work, as those programs do it."""

from __future__ import annotations

import time
from typing import Any

import pytest

from deepsense import neptune
from deepsense.neptune import ChannelType


def test_offline_is_told_by_the_class_of_params_and_by_the_id(ctx: neptune.Context) -> None:
    assert ctx.params.__class__.__name__ == "OfflineContextParams"
    assert ctx.experiment_id is None
    assert ctx.job.id is None
    assert ctx.metric is None
    assert ctx.state == ctx.job.state == "running"


def test_channels_of_the_experiment_are_iterated_by_name_and_by_item(ctx: neptune.Context, name: str) -> None:
    channel = ctx.create_channel(name, ChannelType.NUMERIC)
    channels = ctx._experiment._channels
    assert name in [each.name for each in channels]
    assert dict(channels.items())[name] is channel  # type: ignore[index]


def test_create_channel_is_replaced_on_the_instance(
    ctx: neptune.Context, name: str, monkeypatch: Any
) -> None:
    experiment = ctx._experiment
    original, made = experiment.create_channel, []

    def create(name: str, *rest: Any, **named: Any) -> neptune.Channel:
        made.append(name)
        return original(name, *rest, **named)

    monkeypatch.setattr(experiment, "create_channel", create)
    ctx.create_channel(name + " 1", ChannelType.NUMERIC)
    ctx.job.create_channel(name=name + " 2", channel_type=ChannelType.TEXT)
    ctx.channel_send(name + " 3", 1, 0.5)
    neptune.Context().create_channel(name + " 4", ChannelType.NUMERIC)
    assert made == [f"{name} {i}" for i in (1, 2, 3, 4)]


def test_send_is_replaced_on_the_instance(ctx: neptune.Context, name: str) -> None:
    channel = ctx.create_channel(name, ChannelType.NUMERIC)
    original, sent = channel.send, []

    def every_second(x: Any, y: Any) -> None:
        sent.append((x, y))
        if len(sent) % 2 == 0:
            original(x, y)

    channel.send = every_second  # type: ignore[method-assign, assignment]
    for i in range(4):
        channel.send(i, i)
    neptune.Context().channel_send(name, 9, 9)
    assert sent == [(0, 0), (1, 1), (2, 2), (3, 3), (9, 9)]


def test_the_context_is_made_many_times_in_many_modules(program: Any) -> None:
    (program.folder / "library.py").write_text(
        "from deepsense import neptune\n"
        "ctx = neptune.Context()\n"
        "loss = ctx.job.create_channel('loss', neptune.ChannelType.NUMERIC)\n"
    )
    ended = program("""
        import library
        from deepsense import neptune
        ctx = neptune.Context()
        again = neptune.Context(tags=["late"], properties={"a": 1})
        assert again.job is ctx.job is library.ctx.job
        assert ctx.create_channel(name="loss", channel_type=neptune.ChannelType.NUMERIC) is library.loss
        assert list(library.ctx.tags) == ["late"] and dict(library.ctx.properties) == {"a": "1"}
        import argparse
        argparse.ArgumentParser().parse_args()
    """)
    assert ended.err.count("offline") == 1, ended.err


def test_names_and_image_texts_need_not_be_text(ctx: neptune.Context, name: str) -> None:
    from PIL import Image

    channel = ctx.create_channel(name=len(name), channel_type=ChannelType.IMAGE)
    assert channel.name == str(len(name))
    image = neptune.Image(name=1, description=2.5, data=Image.new("L", (2, 2)))
    assert (image.name, image.description) == ("1", "2.5")
    channel.send(x=1, y=image)
    assert ctx.channel_send(len(name), 2, image) is channel


@pytest.mark.parametrize("x", [time.time(), 0, -1, -0.5, 10**15])
def test_x_is_any_finite_number(ctx: neptune.Context, name: str, x: float) -> None:
    ctx.create_channel(name, ChannelType.NUMERIC).send(x, 1)
    ctx.channel_send(name + " text", x, "a line")


def test_x_may_repeat_and_go_back(ctx: neptune.Context, name: str) -> None:
    channel = ctx.create_channel(name, ChannelType.NUMERIC)
    for x in (0, 0, 0, 5, -1, 5):
        channel.send(x=x, y=1.0)


def test_all_keyword_forms(ctx: neptune.Context, name: str) -> None:
    channel = ctx.create_channel(name=name, channel_type=ChannelType.NUMERIC)
    channel.send(1, 2)
    channel.send(x=1, y=2)
    channel.send(y=2, x=1)
    channel.send(2)
    channel.send(y=2)
    channel.send(x=None, y=2)
    channel.send(None, 2)
    assert ctx.channel_send(name=name, x=None, y=2) is channel
    assert ctx.channel_send(name, 2) is channel
    assert ctx.channel_send(name, y=2) is channel
    assert ctx.channel_send(name, 1, 2) is channel
    assert ctx.job.channel_send(name, 1, y=2) is channel


def test_a_dict_as_y_becomes_text(ctx: neptune.Context, name: str) -> None:
    assert ctx.channel_send(name, {"loss": 0.5}).type is ChannelType.TEXT


def test_arguments_of_old_versions_are_accepted(ctx: neptune.Context, name: str) -> None:
    first = ctx.job.create_channel(name, ChannelType.NUMERIC, False, True)
    assert ctx.create_channel(name, ChannelType.NUMERIC, is_history_persisted=False) is first
    assert ctx.create_channel(name, ChannelType.NUMERIC, is_last_value_exposed=True) is first
    assert ctx.create_channel(name, ChannelType.NUMERIC, auto_increment_type="Int") is first


def test_both_surfaces_have_all_members(ctx: neptune.Context) -> None:
    both = """tags properties params state metric storage_url create_channel create_chart channel_send
    channel_reset
        register_action integrate_with_keras integrate_with_tensorflow finalize_preparation delete_channel
        delete_all_channels reset reset_all_channels""".split()
    for member in both:
        assert hasattr(ctx, member), member
        assert hasattr(ctx.job, member), member
    ctx.finalize_preparation()
    ctx.job.finalize_preparation()


@pytest.mark.parametrize(
    ("call", "instead"),
    [
        (lambda ctx: ctx.register_action("stop", print), "abort works"),
        (lambda ctx: ctx.job.integrate_with_keras(), "callback"),
        (lambda ctx: ctx.integrate_with_tensorflow(), "channel_send"),
        (lambda ctx: ctx.delete_channel("x"), "left alone"),
    ],
)
def test_what_is_not_there_yet_says_what_is(ctx: neptune.Context, call: Any, instead: str) -> None:
    with pytest.raises(NotImplementedError, match=instead):
        call(ctx)
