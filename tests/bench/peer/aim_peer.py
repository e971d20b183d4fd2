"""Aim: a local repository as its library makes it, `aim up` for the answers."""

from __future__ import annotations

import struct
import subprocess
import sys
import urllib.parse
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import work
from aim import Run
from aim.storage.treeutils import decode_tree

#: Points of a line in its metrics page, unless one changes it.
DENSITY = 500


class AimPeer(work.Peer):
    ready_path = "/api/projects/"
    table_lacks = "filters by a param that holds the metric, does not sort"

    def version(self) -> str:
        return version("aim")

    def serve_command(self) -> list[str]:
        program = str(Path(sys.executable).with_name("aim"))
        if not (self.folder / ".aim").exists():
            subprocess.run([program, "init", "-s"], cwd=self.folder, check=True, stdout=subprocess.DEVNULL)
        return [program, "up", "--host", "127.0.0.1", "--port", str(self.port), "--yes"]

    def logger(self) -> Callable[[int, float], object]:
        self.calls = Run(repo=str(self.folder), experiment="calls")
        return lambda step, value: self.calls.track(value, name="loss", step=step)

    def end_logger(self) -> None:
        self.calls.close()

    def begin_series(self) -> None:
        self.series = Run(repo=str(self.folder), experiment="series")

    def write_series(self, values: list[float]) -> None:
        for step, value in enumerate(values):
            self.series.track(value, name="loss", step=step)
        self.series.close()

    def read_chart(self) -> list[float]:
        query = 'run.experiment == "series" and metric.name == "loss"'
        for run in self.search("metric", query, f"&p={DENSITY}"):
            for trace in run["traces"]:
                blob = trace["values"]["blob"]
                return list(struct.unpack(f"<{len(blob) // 8}d", blob))
        raise RuntimeError("the chart has no line")

    def write_run(self, number: int, loss: float, acc: float) -> None:
        run = Run(repo=str(self.folder), experiment="table", system_tracking_interval=None)
        run.name = f"run {number}"
        run["end"] = {"loss": loss, "acc": acc}
        run.track(loss, name="loss", step=0)
        run.track(acc, name="acc", step=0)
        run.close()

    def read_table(self) -> list[str]:
        query = 'run.experiment == "table" and run.end.loss < 0.5 and run.end.acc > 0.2'
        return [str(run["props"]["name"]) for run in self.search("run", query, "&limit=100")]

    def search(self, what: str, query: str, more: str) -> list[dict[str, Any]]:
        path = f"/api/runs/search/{what}/?report_progress=false&q={urllib.parse.quote(query)}{more}"
        body, at, pairs = self.ask(path), 0, []
        while at < len(body):
            parts = []
            for _ in range(2):
                (length,) = struct.unpack_from("<I", body, at)
                parts.append(body[at + 4 : at + 4 + length])
                at += 4 + length
            pairs.append((parts[0], parts[1]))
        return [run for run in decode_tree(iter(pairs)).values() if isinstance(run, dict)]


work.measure(AimPeer)
