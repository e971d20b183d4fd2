"""MLflow: `mlflow server` with its defaults (SQLite), the fluent API for single values, `log_batch` for many."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import mlflow
import work
from mlflow.entities import Metric, Param
from mlflow.tracking import MlflowClient

#: As many as one batch may hold.
BATCH = 1_000


class MlflowPeer(work.Peer):
    ready_path = "/health"
    log_is_queued = False
    run_id = ""

    def version(self) -> str:
        return str(mlflow.__version__)

    def serve_command(self) -> list[str]:
        program = str(Path(sys.executable).with_name("mlflow"))
        return [program, "server", "--host", "127.0.0.1", "--port", str(self.port)]

    def start(self) -> float:
        os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
        seconds = super().start()
        mlflow.set_tracking_uri(self.url)
        return seconds

    def logger(self) -> Callable[[int, float], object]:
        mlflow.start_run(run_name="calls")
        return lambda step, value: mlflow.log_metric("loss", value, step=step)

    def queued_logger(self) -> Callable[[int, float], object]:
        mlflow.start_run(run_name="queued calls")
        return lambda step, value: mlflow.log_metric("loss", value, step=step, synchronous=False)

    def end_logger(self) -> None:
        mlflow.flush_async_logging()
        mlflow.end_run()

    def begin_series(self) -> None:
        self.run_id = MlflowClient().create_run("0", run_name="series").info.run_id

    def write_series(self, values: list[float]) -> None:
        client = MlflowClient()
        for first in range(0, len(values), BATCH):
            batch = [
                Metric("loss", value, 1_790_000_000_000 + first + i, first + i)
                for i, value in enumerate(values[first : first + BATCH])
            ]
            client.log_batch(self.run_id, metrics=batch)

    def read_chart(self) -> list[float]:
        path = "/ajax-api/2.0/mlflow/metrics/get-history-bulk-interval"
        answer = json.loads(self.ask(f"{path}?run_ids={self.run_id}&metric_key=loss&max_results=320"))
        return [float(metric["value"]) for metric in answer["metrics"]]

    def write_run(self, number: int, loss: float, acc: float) -> None:
        client = MlflowClient()
        if number == 0:
            self.experiment = client.create_experiment("table")
        run = client.create_run(self.experiment, run_name=f"run {number}").info.run_id
        time = 1_790_000_000_000 + number
        metrics = [Metric("loss", loss, time, 0), Metric("acc", acc, time, 0)]
        client.log_batch(run, metrics=metrics, params=[Param("lr", str(loss))])

    def read_table(self) -> list[str]:
        body = {
            "experiment_ids": [self.experiment],
            "filter": "metrics.loss < 0.5 and metrics.acc > 0.2",
            "order_by": ["metrics.loss DESC"],
            "max_results": 100,
        }
        answer = json.loads(self.ask("/api/2.0/mlflow/runs/search", body))
        return [str(run["info"]["run_name"]) for run in answer["runs"]]


work.measure(MlflowPeer)
