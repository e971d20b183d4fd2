"""All that a server answers about what it keeps, as plain data: two servers with the same data answer the same."""

from __future__ import annotations

import hashlib
import json
import struct
from typing import Any
from urllib.parse import quote

from conftest import Server, read_columns

# What moves with time on a job that runs: how long its runner was not heard of.
MOVING = {"silent_since_micros"}
# Of longer channels only the digest is kept.
POINTS_KEPT = 1000


def all_answers(server: Server) -> dict[str, Any]:
    """Every project and job with all that it produced: numbers as their bits, bytes as their SHA-256."""
    jobs = sorted((job["id"] for job in all_jobs(server)), key=lambda job: (job.split("-")[0], len(job), job))
    return {"projects": server.get("/projects"), "jobs": {job: job_answers(server, job) for job in jobs}}


def all_jobs(server: Server, query: str = "") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor = ""
    while True:
        page = server.get(f"/jobs?limit=1000{query}{cursor}")
        found += page["items"]
        if page["next"] is None:
            return found
        cursor = "&cursor=" + quote(page["next"], safe="")


def job_answers(server: Server, job: str) -> dict[str, Any]:
    found = server.job(job)
    kept = {name: value for name, value in found.items() if name not in MOVING}
    attempts = [server.get(f"/attempts/{job}/{n}") for n in range(1, (found.get("attempt") or 0) + 1)]
    channels = {name: channel_answers(server, job, channel) for name, channel in server.channels(job).items()}
    answers = {
        "job": kept,
        "attempts": attempts,
        "charts": server.get(f"/jobs/{job}/charts"),
        "channels": channels,
    }
    if found.get("snapshot"):
        answers["snapshot"] = snapshot_answers(server, job)
    return answers


def channel_answers(server: Server, job: str, channel: dict[str, Any]) -> dict[str, Any]:
    path = f"/jobs/{job}/channels/{quote(channel['name'], safe='')}"
    answers: dict[str, Any] = {"channel": channel}
    if channel["kind"] == "numeric":
        for order in ["arrival", "x"]:
            points = point_bits(server, f"{path}/points?limit=100000&order={order}")
            answers[order] = (
                points if len(points["x"]) <= POINTS_KEPT else sha256(json.dumps(points).encode())
            )
        series = quote(f"{job}/{channel['name']}", safe="")
        (envelope,) = server.get(f"/envelope?series={series}&buckets=1")["series"]
        # The first and last of a bucket are by x; what is exact at any zoom is the rest.
        answers["whole"] = {
            name: envelope[name] for name in ["count", "nan", "min", "max", "x_first", "x_last"]
        }
    elif channel["kind"] == "text":
        answers["lines"] = all_pages(server, f"{path}/text?limit=10000", "lines", "line")
        if channel["origin"] in ("stdout", "stderr"):
            answers["log"] = digest(server, f"{path}/log")
    else:
        answers["images"] = all_pages(server, f"{path}/images?limit=1000", "images", "index")
        answers["files"] = [digest(server, f"{path}/images/{image['index']}") for image in answers["images"]]
    return answers


def point_bits(server: Server, path: str) -> dict[str, list[int]]:
    """Columns of points, NaN payloads and all; times as they are."""
    whole: dict[str, list[int]] = {"x": [], "y": [], "time": []}
    cursor = ""
    while True:
        answer = server.request("GET", path + cursor, headers={"Accept": "application/vnd.neptune.columns"})
        assert answer.status == 200, answer.body
        (table,) = read_columns(answer.body)
        for name, values in table["columns"].items():
            whole[name] += [as_bits(value) for value in values]
        following = (table["meta"] or {}).get("next")
        if following is None:
            return whole
        cursor = "&cursor=" + quote(following, safe="")


def as_bits(value: float | int) -> int:
    return struct.unpack("<Q", struct.pack("<d", value))[0] if isinstance(value, float) else value


def all_pages(server: Server, path: str, items: str, first: str) -> list[Any]:
    found: list[Any] = []
    at: int | None = 0
    while at is not None:
        page = server.get(f"{path}&{first}={at}")
        found += page[items]
        at = page["next"]
    return found


def snapshot_answers(server: Server, job: str) -> dict[str, Any]:
    tree = server.get(f"/jobs/{job}/snapshot/tree")
    files = {
        file["path"]: digest(server, f"/jobs/{job}/snapshot/file/{quote(file['path'])}")
        for file in tree["files"]
    }
    return {"snapshot": server.get(f"/jobs/{job}/snapshot"), "tree": tree, "files": files}


def digest(server: Server, path: str) -> str:
    answer = server.request("GET", path)
    assert answer.status == 200, f"GET {path}: {answer.status} {answer.body!r}"
    return sha256(answer.body)


def sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def assert_holds(found: Any, wanted: Any, place: str = "") -> None:
    """Everything that is wanted is there; a later version may answer further fields."""
    if isinstance(wanted, dict):
        assert isinstance(found, dict), (place, found, wanted)
        for name, value in wanted.items():
            assert name in found, f"{place}.{name} is missing"
            assert_holds(found[name], value, f"{place}.{name}")
        return
    if isinstance(wanted, list):
        assert isinstance(found, list) and len(found) == len(wanted), (place, len(found), len(wanted))
        for at, value in enumerate(wanted):
            assert_holds(found[at], value, f"{place}[{at}]")
        return
    assert found == wanted, (place, found, wanted)
