"""Neptune at the same work: `neptune-server` with its defaults, the Python module, REST for the answers."""

from __future__ import annotations

import json
import os
import struct
import time
import urllib.parse
from array import array
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import work

#: Points that are not on the server's disk by then are lost.
STORED_SECONDS = 60.0


class NeptunePeer(work.Peer):
    ready_path = "/api/v1/server"
    job = ""

    def version(self) -> str:
        return version("deepsense")

    def serve_command(self) -> list[str]:
        program = str(Path(os.environ["NEPTUNE_BIN_DIR"], "neptune-server"))
        return [program, "--data", "data", "--listen", f"127.0.0.1:{self.port}"]

    def settled_bytes(self) -> int:
        # A running server's log is allocated ahead of what is in it.
        self.stop()
        size = super().settled_bytes()
        self.start()
        return size

    def logger(self) -> Callable[[int, float], object]:
        # What `neptune run` does before it starts a program.
        self.ask("/api/v1/projects", {"key": "BENCH", "name": "bench"})
        self.job = self.create_job("program")
        claim = json.loads(self.ask(f"/api/v1/jobs/{self.job}/attempts", {"claim": os.urandom(16).hex()}))
        told = {
            "NEPTUNE_ONLINE_CONTEXT": "yes",
            "NEPTUNE_URL": self.url,
            "NEPTUNE_JOB_ID": self.job,
            "NEPTUNE_ATTEMPT": str(claim["attempt"]),
            "NEPTUNE_TOKEN": claim["token"],
            "NEPTUNE_SPOOL_DIR": str(self.folder / "spool"),
        }
        os.environ.update(told)
        from deepsense import neptune

        self.context = neptune.Context()
        send = self.context.create_channel("calls", neptune.ChannelType.NUMERIC).send
        return lambda step, value: send(step, value)

    def end_logger(self) -> None:
        self.wait_until_stored("calls", work.LOG_CALLS)

    def begin_series(self) -> None:
        from deepsense import neptune

        self.series = self.context.create_channel("series", neptune.ChannelType.NUMERIC)

    def write_series(self, values: list[float]) -> None:
        for step, value in enumerate(values):
            self.series.send(step, value)
        self.wait_until_stored("series", len(values))

    def wait_until_stored(self, name: str, count: int) -> None:
        deadline = time.monotonic() + STORED_SECONDS
        while True:
            channels = json.loads(self.ask(f"/api/v1/jobs/{self.job}/channels"))
            stored = {channel["name"]: channel["summary"]["count"] for channel in channels}
            if stored.get(name) == count:
                return
            if time.monotonic() > deadline:
                raise RuntimeError(f"{stored.get(name)} of {count} points are stored")
            time.sleep(0.002)

    def read_chart(self) -> list[float]:
        path = f"/api/v1/envelope?series={self.job}/series&buckets={work.PIXELS}"
        body = self.ask(path, Accept="application/vnd.neptune.columns")
        (length,) = struct.unpack_from("<I", body, 4)
        table = json.loads(body[8 : 8 + length])["tables"][0]
        at, drawn = (8 + length + 7) // 8 * 8, array("d")
        for column in table["columns"]:
            end = at + 8 * table["rows"]
            if column["name"] in ("min", "max"):
                drawn.frombytes(body[at:end])
            at = end
        return list(drawn)

    def create_job(self, name: str, **params: float) -> str:
        create: dict[str, Any] = {"uid": os.urandom(16).hex(), "project": "BENCH", "name": name}
        create["params"] = [
            {"name": param, "type": "double", "value": value} for param, value in params.items()
        ]
        return str(json.loads(self.ask("/api/v1/jobs", create))["id"])

    def write_run(self, number: int, loss: float, acc: float) -> None:
        job = self.create_job(f"run {number}", lr=loss)
        points = {"loss": [[0, loss]], "acc": [[0, acc]]}
        self.ask(f"/api/v1/jobs/{job}/points", points, **{"Idempotency-Key": job})

    def read_table(self) -> list[str]:
        query = urllib.parse.urlencode(
            {
                "filter": "metric.loss.last < 0.5 and metric.acc.max > 0.2",
                "sort": "-metric.loss.last",
                "limit": "100",
            }
        )
        try:
            page = json.loads(self.ask(f"/api/v1/jobs?{query}"))
        except work.Refused as why:
            if why.status == 400:
                raise work.Unable(f"not built: {why}") from None
            raise
        return [str(row["name"]) for row in page["items"]]


work.measure(NeptunePeer)
