"""What a program sent is what the server answers: every value, bit for bit, in JSON, CSV and binary columns."""

from __future__ import annotations

import json
import math
import pathlib
import struct
from typing import Any

from conftest import Cli, Server, read_columns

PROGRAM = """
import json, math, random, struct
from deepsense import neptune

ctx = neptune.Context()
rng = random.Random(7)
sent = {"nasty": [], "shuffled": [], "implicit": []}
nasty = ctx.job.create_channel("nasty", neptune.ChannelType.NUMERIC)
values = [0.1, -0.0, 0.0, math.nan, math.inf, -math.inf, 5e-324, 1.7976931348623157e308, 1 / 3, 1e-7, 123456789.123456789,
          struct.unpack("<d", struct.pack("<Q", 0x7FF8_0000_DEAD_BEEF))[0]]
for step in range(600):
    y = values[step % len(values)]
    x = [float(step), -1.0, 0.5, step / 3, 1e18][step % 5]
    nasty.send(x, y)
    sent["nasty"].append((x, y))
shuffled = ctx.job.create_channel("shuffled / größe", neptune.ChannelType.NUMERIC)
steps = list(range(5000))
rng.shuffle(steps)
for step in steps:
    y = rng.random()
    shuffled.send(float(step), y)
    sent["shuffled"].append((float(step), y))
for step in range(20):
    ctx.channel_send("implicit", step * step)
    sent["implicit"].append((float(step + 1), float(step * step)))
bits = lambda v: struct.unpack("<Q", struct.pack("<d", v))[0]
with open("sent.json", "w") as out:
    json.dump({name: [(bits(x), bits(y)) for x, y in points] for name, points in sent.items()}, out)
"""

NAMES = {"nasty": "nasty", "shuffled": "shuffled / größe", "implicit": "implicit"}


def bits(value: float) -> int:
    return struct.unpack("<Q", struct.pack("<d", value))[0]


def number(value: Any) -> float:
    """A number of the JSON contract: NaN and the infinities are texts, one spelling each."""
    if isinstance(value, str):
        return {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}[value]
    return float(value)


def same_in_text(sent: tuple[int, int], x: float, y: float) -> bool:
    """Text formats keep every bit but a NaN's."""
    was = struct.unpack("<d", struct.pack("<Q", sent[1]))[0]
    return bits(x) == sent[0] and (bits(y) == sent[1] or math.isnan(was) and math.isnan(y))


def test_every_bit_comes_back(server: Server, cli: Cli, tmp_path: pathlib.Path) -> None:
    (tmp_path / "main.py").write_text(PROGRAM, "utf-8")
    run = cli.run("run", "main.py")
    assert run.returncode == 0, run.stderr
    job = server.jobs()[0]["id"]
    sent = json.loads((tmp_path / "sent.json").read_text("utf-8"))
    assert server.job(job)["dropped_points"] == 0

    def compare() -> None:
        for key, name in NAMES.items():
            points = [tuple(point) for point in sent[key]]
            by_x = sorted(points, key=lambda point: struct.unpack("<d", struct.pack("<Q", point[0]))[0])
            check_channel(server, job, name, points, by_x)

    compare()
    server.kill()
    server.start()
    compare()


def check_channel(
    server: Server, job: str, name: str, arrival: list[tuple[int, int]], by_x: list[tuple[int, int]]
) -> None:
    from urllib.parse import quote

    path = f"/jobs/{job}/channels/{quote(name, safe='')}/points"
    for order, wanted in [("arrival", arrival), ("x", by_x)]:
        found = server.points(job, name, f"&order={order}")
        assert len(found["x"]) == len(wanted), name
        for i, point in enumerate(wanted):
            assert same_in_text(point, number(found["x"][i]), number(found["y"][i])), (name, order, i, point)

        query = f"?limit=100000&order={order}"
        binary = server.request("GET", path + query, headers={"Accept": "application/vnd.neptune.columns"})
        assert binary.headers["Content-Type"] == "application/vnd.neptune.columns"
        (table,) = read_columns(binary.body)
        columns = table["columns"]
        assert [(bits(x), bits(y)) for x, y in zip(columns["x"], columns["y"], strict=True)] == wanted, (
            name,
            order,
        )

        csv = server.request("GET", path + query, headers={"Accept": "text/csv"}).body.decode().splitlines()
        rows = [line.split(",") for line in csv[1:]]
        assert len(rows) == len(wanted)
        for row, point in zip(rows, wanted, strict=True):
            assert same_in_text(point, float(row[0]), float(row[1])), (name, row)

    summary = server.channels(job)[name]["summary"]
    ys = [struct.unpack("<d", struct.pack("<Q", y))[0] for _, y in arrival]
    real = [y for y in ys if not math.isnan(y)]
    assert summary["count"] == len(arrival)
    assert summary.get("nan_count", 0) == len(ys) - len(real)
    assert (number(summary["min"]), number(summary["max"])) == (min(real), max(real))

    series = quote(f"{job}/{name}", safe="")
    for buckets in [1, 7, 1000]:
        (envelope,) = server.get(f"/envelope?series={series}&buckets={buckets}")["series"]
        assert len(envelope["count"]) <= buckets
        assert sum(envelope["count"]) == len(arrival)
        assert sum(envelope["nan"]) == len(ys) - len(real)
        lows = [number(y) for y in envelope["min"]]
        highs = [number(y) for y in envelope["max"]]
        assert min(y for y in lows if not math.isnan(y)) == min(real)
        assert max(y for y in highs if not math.isnan(y)) == max(real)
