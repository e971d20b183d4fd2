"""Neptune's client: what a program sends to its job while it runs.

    from deepsense import neptune

    ctx = neptune.Context()
    loss = ctx.create_channel("loss", neptune.ChannelType.NUMERIC)
    for step in range(1000):
        loss.send(step, train(ctx.params.learning_rate))

Nothing here waits for the network or raises because of it. Errors are for mistakes in the program (`errors`).
"""

from deepsense.neptune._native import __version__
from deepsense.neptune.channel import Channel, ChannelType
from deepsense.neptune.chart import Chart
from deepsense.neptune.context import Context
from deepsense.neptune.errors import (
    DuplicateChannelError,
    DuplicateChartError,
    InvalidTypeError,
    InvalidValueError,
    MissingParameterError,
    NeptuneException,
    ReadOnlyError,
)
from deepsense.neptune.image import Image

__all__ = [
    "Channel",
    "ChannelType",
    "Chart",
    "Context",
    "DuplicateChannelError",
    "DuplicateChartError",
    "Image",
    "InvalidTypeError",
    "InvalidValueError",
    "MissingParameterError",
    "NeptuneException",
    "ReadOnlyError",
    "__version__",
]
