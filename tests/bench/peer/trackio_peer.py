"""Trackio: its library's SQLite files, the dashboard as `trackio.show` serves it, without the browser it would open."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import trackio
import work

SHOW = "import sys, trackio; trackio.show(open_browser=False, server_port=int(sys.argv[1]))"


class TrackioPeer(work.Peer):
    table_lacks = "answers all runs; neither filters nor sorts"

    def version(self) -> str:
        return version("trackio")

    def serve_command(self) -> list[str]:
        return [sys.executable, "-c", SHOW, str(self.port)]

    def logger(self) -> Callable[[int, float], object]:
        trackio.init(project="bench", name="calls", embed=False)
        return lambda step, value: trackio.log({"loss": value}, step=step)

    def end_logger(self) -> None:
        trackio.finish()

    def begin_series(self) -> None:
        trackio.init(project="bench", name="series", embed=False)

    def write_series(self, values: list[float]) -> None:
        for step, value in enumerate(values):
            trackio.log({"loss": value}, step=step)
        trackio.finish()

    def read_chart(self) -> list[float]:
        rows = self.call("get_logs", project="bench", run="series", scalar_only=True)
        return [float(row["loss"]) for row in rows if "loss" in row]

    def write_run(self, number: int, loss: float, acc: float) -> None:
        trackio.init(project="table", name=f"run {number}", config={"lr": loss}, embed=False)
        trackio.log({"loss": loss, "acc": acc}, step=0)
        trackio.finish()

    def read_table(self) -> list[str]:
        runs = self.call("get_runs_for_project", project="table")
        self.call("get_run_configs", project="table")
        return [str(run["name"]) for run in runs]

    def call(self, name: str, **arguments: object) -> Any:
        return json.loads(self.ask(f"/api/{name}", arguments))["data"]


work.measure(TrackioPeer)
