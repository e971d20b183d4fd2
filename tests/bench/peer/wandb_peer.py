"""W&B offline: what its library writes on this machine; charts and tables are only on its servers."""

from __future__ import annotations

import os
from collections.abc import Callable

import wandb
import work


class WandbPeer(work.Peer):
    def version(self) -> str:
        return str(wandb.__version__)

    def begin(self, name: str) -> None:
        os.environ.update({"WANDB_MODE": "offline", "WANDB_SILENT": "true"})
        self.run = wandb.init(project="bench", name=name, dir=str(self.folder))

    def logger(self) -> Callable[[int, float], object]:
        self.begin("calls")
        return lambda step, value: self.run.log({"loss": value}, step=step)

    def end_logger(self) -> None:
        self.run.finish()

    def begin_series(self) -> None:
        self.begin("series")

    def write_series(self, values: list[float]) -> None:
        for step, value in enumerate(values):
            self.run.log({"loss": value}, step=step)
        self.run.finish()


work.measure(WandbPeer)
