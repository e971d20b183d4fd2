"""The context: a program's way into its job."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from deepsense.neptune.channel import Channel, ChannelType
from deepsense.neptune.chart import Chart
from deepsense.neptune.job import Job, Metric
from deepsense.neptune.params import ContextParams
from deepsense.neptune.process import current_job, give_offline
from deepsense.neptune.properties import Properties
from deepsense.neptune.tags import Tags


class Context:
    """The job this program belongs to. May be made any number of times, anywhere; each shows the same job.

    Started by `neptune run`, everything goes to the server, in the background. Started otherwise, the program
    works offline: it says so once, keeps what it is sent on disk, and `neptune sync` uploads it. `tags`,
    `properties`, `offline_parameters` and `cmd_line_args` count only then. The last two arguments are
    accepted for older programs.
    """

    def __init__(
        self,
        cmd_line_args: Sequence[str] | None = None,
        tags: Iterable[str] | None = None,
        properties: Mapping[Any, Any] | None = None,
        offline_parameters: Mapping[str, Any] | None = None,
        parent_thread: object = None,
        with_retries: object = True,
    ) -> None:
        self._experiment: Job = current_job()
        give_offline(cmd_line_args, tags, properties, offline_parameters)

    @property
    def job(self) -> Job:
        """The job object of 1.x; the context has all that it has."""
        return self._experiment

    @property
    def experiment_id(self) -> str | None:
        """`TRIG-12`; None offline."""
        return self._experiment.id

    @property
    def state(self) -> str:
        """See `Job.state`."""
        return self._experiment.state

    @property
    def params(self) -> ContextParams:
        """The parameters, read-only: ``ctx.params.name``, ``ctx.params["name"]``, or by iteration."""
        return self._experiment.params

    @property
    def metric(self) -> Metric | None:
        """See `Job.metric`."""
        return self._experiment.metric

    @property
    def storage_url(self) -> str | None:
        """See `Job.storage_url`."""
        return self._experiment.storage_url

    @property
    def dump_dir_url(self) -> str | None:
        """See `Job.storage_url`."""
        return self._experiment.dump_dir_url

    @property
    def tags(self) -> Tags:
        """List-like; assigning a list replaces all."""
        return self._experiment.tags

    @tags.setter
    def tags(self, values: Iterable[str]) -> None:
        self._experiment.tags = values

    @property
    def properties(self) -> Properties:
        """Dict-like; assigning a dict replaces all."""
        return self._experiment.properties

    @properties.setter
    def properties(self, values: Mapping[Any, Any]) -> None:
        self._experiment.properties = values

    def create_channel(
        self, name: object, channel_type: ChannelType | str, *more: object, **named: object
    ) -> Channel:
        """See `Job.create_channel`."""
        return self._experiment.create_channel(name, channel_type, *more, **named)

    def channel_send(self, name: object, *point: Any, **named: Any) -> Channel:
        """See `Job.channel_send`."""
        return self._experiment.channel_send(name, *point, **named)

    def channel_reset(self, name: object) -> None:
        """See `Job.channel_reset`."""
        self._experiment.channel_reset(name)

    def reset_all_channels(self) -> None:
        """See `Job.reset_all_channels`."""
        self._experiment.reset_all_channels()

    def delete_channel(self, name: object) -> None:
        """See `Job.delete_channel`."""
        self._experiment.delete_channel(name)

    def delete_all_channels(self) -> None:
        """See `Job.delete_all_channels`."""
        self._experiment.delete_all_channels()

    def reset(self) -> None:
        """See `Job.reset`."""
        self._experiment.reset()

    def create_chart(self, name: object, series: Mapping[Any, Channel | str] | None = None) -> Chart:
        """See `Job.create_chart`."""
        return self._experiment.create_chart(name, series)

    def finalize_preparation(self) -> None:
        """See `Job.finalize_preparation`."""
        self._experiment.finalize_preparation()

    def register_action(self, name: object, handler: object) -> None:
        """See `Job.register_action`."""
        self._experiment.register_action(name, handler)

    def integrate_with_keras(self) -> None:
        """See `Job.integrate_with_keras`."""
        self._experiment.integrate_with_keras()

    def integrate_with_tensorflow(self) -> None:
        """See `Job.integrate_with_tensorflow`."""
        self._experiment.integrate_with_tensorflow()

    def __reduce__(self) -> tuple[Any, ...]:
        # In another process of the job it is a context of that process.
        return Context, ()

    def __repr__(self) -> str:
        return f"Context(experiment_id={self.experiment_id!r})"
