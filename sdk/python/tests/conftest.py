"""Every test works offline, in folders of its own: nothing is left in the home folder or in the clone."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from deepsense import neptune

SECONDS = 60  # a program that is not done by then hangs


@dataclass
class Ended:
    """A program that ran."""

    status: int
    out: str
    err: str


@dataclass
class Program:
    """Runs a text as a program of its own, offline, and waits for its end."""

    folder: Path
    environment: dict[str, str]

    def __call__(self, code: str, *arguments: str, status: int = 0, **environment: str) -> Ended:
        path = self.folder / "program.py"
        path.write_text(textwrap.dedent(code))
        done = subprocess.run(
            [sys.executable, str(path), *arguments],
            cwd=self.folder,
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == status, f"status {done.returncode}\n{done.stdout}\n{done.stderr}"
        return Ended(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """A way to run programs in an empty folder with a spool of its own."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NEPTUNE_")}
    environment["NEPTUNE_SPOOL_DIR"] = str(tmp_path / "spool")
    return Program(tmp_path, environment)


@pytest.fixture(scope="session")
def spool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the job of the tests' own process waits."""
    folder = tmp_path_factory.mktemp("job")
    for variable in [variable for variable in os.environ if variable.startswith("NEPTUNE_")]:
        del os.environ[variable]
    os.environ["NEPTUNE_SPOOL_DIR"] = str(folder / "spool")
    os.chdir(folder)
    return folder / "spool"


@pytest.fixture(scope="session")
def ctx(spool: Path) -> neptune.Context:
    """The context of the tests' own process; its job is shared, so each test uses names of its own."""
    assert not spool.exists()
    return neptune.Context()


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A channel's name that no other test has."""
    return request.node.name


@pytest.fixture
def points(ctx: neptune.Context) -> Callable[[neptune.Channel], list[tuple[str, str]]]:
    """Reads a channel's points, x and y as text, from the log of the job that works offline."""

    def read(channel: neptune.Channel) -> list[tuple[str, str]]:
        ctx.job._core.flush(0.0)
        head = f"{channel.name}: x="
        lines = Path("offline_job.log").read_text(encoding="utf-8", errors="replace").splitlines()
        found = [line[len(head) :].split(" y=", 1) for line in lines if line.startswith(head)]
        return [(x, y) for x, y in found]

    return read
