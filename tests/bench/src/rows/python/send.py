"""Times single calls of channel.send; the clock's own cost, measured the same way, is taken off."""

import json
import os
import time
from collections.abc import Callable

began = time.perf_counter()
from deepsense import neptune  # noqa: E402

ctx = neptune.Context()
start_ms = (time.perf_counter() - began) * 1e3

CALLS = 200_000
clock = time.perf_counter_ns
channel = ctx.job.create_channel(name="loss", channel_type=neptune.ChannelType.NUMERIC)


def nothing(x: float, y: float) -> None:
    """Stands for a call that does nothing."""


def times(call: Callable[[float, float], object]) -> list[int]:
    found = []
    for i in range(CALLS):
        x, y = float(i), 0.5
        before = clock()
        call(x, y)
        found.append(clock() - before)
        if i % 1000 == 0:
            time.sleep(0.001)
    return sorted(found)


empty = times(nothing)
sent = times(channel.send)
base = empty[CALLS // 2]
figures = {
    "p50_us": (sent[CALLS // 2] - base) / 1e3,
    "p99_us": (sent[CALLS * 99 // 100] - base) / 1e3,
    "start_ms": start_ms,
}
with open(os.environ["NEPTUNE_BENCH_OUT"], "w", encoding="utf-8") as out:
    json.dump(figures, out)
