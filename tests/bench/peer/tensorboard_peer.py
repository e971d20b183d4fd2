"""TensorBoard: event files by its own writer, `tensorboard --logdir` with its defaults, hparams for the table."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import work
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.plugins.hparams import summary_v2
from tensorboard.summary import Writer
from tensorboard.summary.writer.event_file_writer import EventFileWriter

#: It looks for new data now and then; a question before that is answered without it.
SEEN_SECONDS = 60.0


class TensorboardPeer(work.Peer):
    def version(self) -> str:
        return version("tensorboard")

    def serve_command(self) -> list[str]:
        (self.folder / "logs").mkdir(exist_ok=True)
        program = str(Path(sys.executable).with_name("tensorboard"))
        return [program, "--logdir", "logs", "--host", "127.0.0.1", "--port", str(self.port)]

    def logger(self) -> Callable[[int, float], object]:
        self.calls = Writer(str(self.folder / "logs/calls"))
        return lambda step, value: self.calls.add_scalar("loss", value, step)

    def end_logger(self) -> None:
        self.calls.close()

    def begin_series(self) -> None:
        self.series = Writer(str(self.folder / "logs/series"))

    def write_series(self, values: list[float]) -> None:
        for step, value in enumerate(values):
            self.series.add_scalar("loss", value, step)
        self.series.close()

    def read_chart(self) -> list[float]:
        # Right after its start it has not read the file yet.
        deadline = time.monotonic() + SEEN_SECONDS
        while True:
            try:
                points = json.loads(self.ask("/data/plugin/scalars/scalars?run=series&tag=loss"))
                if points and points[-1][1] == work.CHART_POINTS - 1:
                    return [float(point[2]) for point in points]
            except work.Refused:
                pass
            if time.monotonic() > deadline:
                raise RuntimeError(f"the chart is not whole after {SEEN_SECONDS:.0f} s")
            time.sleep(0.005)

    def write_run(self, number: int, loss: float, acc: float) -> None:
        folder = str(self.folder / "logs" / f"run {number}")
        writer = EventFileWriter(folder)
        summary = summary_v2.hparams_pb({"lr": loss}, trial_id=f"run {number}")
        writer.add_event(Event(wall_time=time.time(), summary=summary))
        writer.close()
        scalars = Writer(folder)
        scalars.add_scalar("loss", loss, 0)
        scalars.add_scalar("acc", acc, 0)
        scalars.close()
        self.runs = number + 1

    def runs_written(self) -> None:
        # A fresh server reads everything at once.
        self.stop()
        self.start()
        wanted = work.wanted_runs(self.runs)
        deadline = time.monotonic() + SEEN_SECONDS
        while self.read_table() != wanted:
            if time.monotonic() > deadline:
                raise RuntimeError(f"the table is not whole after {SEEN_SECONDS:.0f} s")
            time.sleep(0.2)

    def read_table(self) -> list[str]:
        body = {
            "experimentName": "",
            "allowedStatuses": ["STATUS_UNKNOWN", "STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_RUNNING"],
            "colParams": [
                {
                    "metric": {"group": "", "tag": "loss"},
                    "filterInterval": {"minValue": -1e300, "maxValue": 0.4999999},
                    "excludeMissingValues": True,
                    "order": "ORDER_DESC",
                },
                {
                    "metric": {"group": "", "tag": "acc"},
                    "filterInterval": {"minValue": 0.2000001, "maxValue": 1e300},
                    "excludeMissingValues": True,
                },
            ],
            "startIndex": 0,
            "sliceSize": 100,
        }
        answer = json.loads(self.ask("/data/plugin/hparams/session_groups", body))
        return [str(group["name"]) for group in answer.get("sessionGroups", [])]


work.measure(TensorboardPeer)
