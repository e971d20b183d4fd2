"""What a job is does not depend on whether the server was there when it ran."""

from __future__ import annotations

import json
import pathlib
from typing import Any

from conftest import Cli, Server

JOB = """
name: letters
description: read by a small network
project: Handwritten letters
tags: [small, first]
properties:
  - {key: data version, value: 1.10}
metric: {channel: loss, goal: minimize}
parameters:
  dropout: 0
  shuffle: no
  epochs: {value: 10, description: passes over the data}
  arch: resnet
  seed:
"""

MAIN = """
from deepsense import neptune

ctx = neptune.Context()
print(sorted(ctx.params.items()))
for x in range(10):
    ctx.channel_send("loss", x, 1 / (x + 1))
ctx.tags.append("late")
ctx.properties["best"] = 0.1
"""

COMMAND = [
    "--tag",
    "second",
    "--property",
    "owner:me",
    "-p",
    "seed:7",
    "--",
    "--dropout",
    "0.5",
    "--arch=vgg",
]

# Which job it is, and when.
OWN = {"id", "uid", "created_micros", "started_micros", "ended_micros"}


def record(server: Server, job: str) -> dict[str, Any]:
    """What is said of a job, without what can only be its own."""
    found = server.job(job)
    assert found.keys() >= OWN, found
    return {name: value for name, value in found.items() if name not in OWN}


def test_a_job_is_the_same_online_and_offline(server: Server, cli: Cli, tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "job"
    folder.mkdir()
    (folder / "neptune.yaml").write_text(JOB)
    (folder / "main.py").write_text(MAIN)
    # Its key is made of the same letters.
    digits = cli.run("project", "create", "Handwritten digits")
    assert digits.returncode == 0, digits.stderr

    online = cli.run("run", "--json", *COMMAND, cwd=folder)
    assert online.returncode == 0, online.stderr
    offline = cli.run("run", "--json", "--offline", *COMMAND, cwd=folder)
    assert offline.returncode == 0, offline.stderr
    printed, last = online.stdout.splitlines()
    assert printed == offline.stdout.splitlines()[0], "the program sees the same parameters"
    synced = cli.run("sync")
    assert synced.returncode == 0, synced.stderr

    first, second = json.loads(last)["id"], synced.stdout.strip()
    assert first != second
    was, became = record(server, first), record(server, second)
    assert became == was
    for axis in ("x", "y"):
        assert server.points(second, "loss")[axis] == server.points(first, "loss")[axis]
    assert server.lines(second, "sys/stdout") == server.lines(first, "sys/stdout") == [printed]
    # And it is what was asked for.
    assert (was["state"], was["exit_code"]) == ("succeeded", 0)
    (project,) = [known for known in server.get("/projects") if known["key"] == was["project"]]
    assert project["name"] == "Handwritten letters"
    params = {
        param["name"]: (param["value"], param.get("default", {}).get("value")) for param in was["params"]
    }
    assert params == {
        "dropout": (0.5, 0.0),
        "shuffle": (False, False),
        "epochs": (10, 10),
        "arch": ("vgg", "resnet"),
        "seed": (7, None),
    }
    assert was["tags"] == ["first", "late", "second", "small"]
    assert was["properties"] == {"best": "0.1", "data version": "1.10", "owner": "me"}
