"""The job object: everything a program can tell its job. One a process (`process.py`)."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from deepsense.neptune._native import JobInternal
from deepsense.neptune.channel import Channel, ChannelName, ChannelType, channel_type, channel_type_for
from deepsense.neptune.chart import Chart
from deepsense.neptune.errors import DuplicateChannelError, DuplicateChartError, InvalidTypeError
from deepsense.neptune.params import ContextParams
from deepsense.neptune.properties import Properties
from deepsense.neptune.tags import Tags
from deepsense.neptune.text import plain

STORAGE_URL = "NEPTUNE_STORAGE_URL"
"""Set by a runner that runs the job in a copy of its sources: the directory of the copy."""

_MISSING: Any = object()


class Metric(NamedTuple):
    """The channel by which jobs are compared."""

    channel_name: str
    direction: str
    """`minimize` or `maximize`."""


class Job:
    """The job: channels, charts, tags, properties. Every context of the process shares it.

    Methods may be replaced on the instance (programs wrap `create_channel`); the context goes through the
    instance.
    """

    def __init__(self, core: JobInternal, params: ContextParams) -> None:
        self._core = core
        self._params = params
        self._tags = Tags(core, core.tags)
        self._properties = Properties(core, core.properties)
        self._charts: dict[str, Chart] = {}
        # Part of the contract: programs iterate over it for `.name`, or over its items.
        self._channels: dict[ChannelName, Channel] = {}

    # What the job is

    @property
    def id(self) -> str | None:
        """`TRIG-12`; None offline."""
        return self._core.id

    @property
    def state(self) -> str:
        """`running`: while the program can ask, it runs."""
        return "running"

    @property
    def params(self) -> ContextParams:
        """The parameters, read-only."""
        return self._params

    @property
    def metric(self) -> Metric | None:
        """The channel by which jobs are compared; None when not declared, or offline."""
        metric = self._core.metric
        return None if metric is None else Metric(*metric)

    @property
    def storage_url(self) -> str | None:
        """Directory of the copy the job runs in; None when it runs in place."""
        return os.environ.get(STORAGE_URL)

    @property
    def dump_dir_url(self) -> str | None:
        """The name of `storage_url` before 1.4."""
        return os.environ.get(STORAGE_URL)

    @property
    def tags(self) -> Tags:
        """List-like; assigning a list replaces all."""
        return self._tags

    @tags.setter
    def tags(self, values: Iterable[str]) -> None:
        if values is not self._tags:
            self._tags.replace(values)

    @property
    def properties(self) -> Properties:
        """Dict-like; assigning a dict replaces all."""
        return self._properties

    @properties.setter
    def properties(self, values: Mapping[Any, Any]) -> None:
        if values is not self._properties:
            self._properties.replace(values)

    # Channels

    def create_channel(
        self,
        name: object,
        channel_type: ChannelType | str,
        is_history_persisted: object = True,
        is_last_value_exposed: object = True,
        **_of_other_versions: object,
    ) -> Channel:
        """Makes a channel, or returns the one of that name and type.

        Everything after the type is accepted for programs of older versions: every point is kept, every last
        value shown.

        Raises `DuplicateChannelError` if the name belongs to a channel of another type, `InvalidValueError`
        for a name that cannot be one.
        """
        kind = _channel_type(channel_type)
        text = ChannelName(name)
        channel = self._channels.get(text)
        if channel is None:
            channel = self._channels.setdefault(text, Channel(self._core, text, kind))
        if channel.type is not kind:
            raise DuplicateChannelError(
                f'channel "{text}" exists and is of type {channel.type.value}, it cannot be {kind.value} too'
            )
        return channel

    def channel_send(self, name: object, x: Any = _MISSING, y: Any = _MISSING) -> Channel:
        """Adds a point to the channel of that name, which is made if it is new; returns the channel.

        ``channel_send(name, x, y)`` or ``channel_send(name, y)``, with keywords too; without x it counts on.
        """
        if y is _MISSING:
            if x is _MISSING:
                raise InvalidTypeError(
                    "channel_send needs a value: channel_send(name, y) or channel_send(name, x, y)"
                )
            x, y = None, x
        elif x is _MISSING:
            x = None
        channel = self._channels.get(name if type(name) is str else str(name))  # type: ignore[call-overload]
        if channel is None:
            channel = self.create_channel(name, channel_type_for(y))
        channel.send(x, y)
        return channel

    def channel_reset(self, name: object) -> None:
        """Lets the channel's x start again; the points sent so far stay. An unknown name is a warning."""
        channel = self._channels.get(ChannelName(name))
        if channel is None:
            warnings.warn(f'channel_reset: the job has no channel "{name}"', stacklevel=2)
        else:
            channel.reset()

    def reset_all_channels(self) -> None:
        """`channel_reset` for each channel."""
        for channel in list(self._channels.values()):
            channel.reset()

    def delete_channel(self, name: object) -> None:
        """Not available yet."""
        raise _absent("delete_channel", "a channel that is no longer wanted can be left alone")

    def delete_all_channels(self) -> None:
        """Not available yet."""
        raise _absent("delete_all_channels", "a new job (`neptune run`) starts with no channels")

    def reset(self) -> None:
        """Not available yet."""
        raise _absent("reset", "a new job (`neptune run`) starts with no channels")

    # Charts

    def create_chart(self, name: object, series: Mapping[Any, Channel | str] | None = None) -> Chart:
        """Makes a chart of numeric channels: `series` maps what the legend says to a channel, or to its name.

        The same chart again is the same chart. Raises `DuplicateChartError` for other series under the same
        name.
        """
        text = plain(name)
        chart = Chart(
            text, {plain(key): self._series_channel(text, value) for key, value in dict(series or {}).items()}
        )
        existing = self._charts.get(text)
        if existing is not None:
            if list(existing.series.items()) != list(chart.series.items()):
                raise DuplicateChartError(f'chart "{text}" exists and shows other series')
            return existing
        self._core.create_chart(text, list(chart.series.items()))
        return self._charts.setdefault(text, chart)

    def _series_channel(self, chart: str, channel: object) -> str:
        known = self._channels.get(ChannelName(channel)) if isinstance(channel, str) else channel
        if isinstance(known, Channel):
            if known.type is not ChannelType.NUMERIC:
                raise InvalidTypeError(
                    f'chart "{chart}": channel "{known.name}" is of type {known.kind}, '
                    "charts show numeric channels"
                )
            return known.name
        if isinstance(channel, str):
            return plain(channel)
        raise InvalidTypeError(f'chart "{chart}": a series is a channel, found {type(channel).__name__}')

    # The rest of the original's surface

    def finalize_preparation(self) -> None:
        """Does nothing: channels and charts may be made at any time."""

    def register_action(self, name: object, handler: object) -> None:
        """Not available yet."""
        raise _absent("register_action", "abort works from the page and from `neptune abort`")

    def integrate_with_keras(self) -> None:
        """Not available yet."""
        raise _absent(
            "integrate_with_keras",
            'send metrics from a callback: ctx.channel_send("loss", epoch, logs["loss"])',
        )

    def integrate_with_tensorflow(self) -> None:
        """Not available yet."""
        raise _absent(
            "integrate_with_tensorflow", 'send values as they are: ctx.channel_send("loss", step, loss)'
        )

    def __repr__(self) -> str:
        return f"Job(id={self.id!r})"


# `create_channel` has a parameter of the same name.
_channel_type = channel_type


def _absent(what: str, instead: str) -> NotImplementedError:
    return NotImplementedError(f"{what} is not available in this version of Neptune; {instead}")
