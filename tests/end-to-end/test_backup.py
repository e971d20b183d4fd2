"""Backups under load, and exports and imports that others get in the way of: all that was acknowledged, once."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import json
import pathlib
import random
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from answers import all_answers, all_jobs
from conftest import ROOT, Cli, Server, wait_until

FIXTURE = ROOT / "tests" / "fixtures" / "db" / "v1"

PRINTER = """
import os, sys, time
from deepsense import neptune

ctx = neptune.Context()
loss = ctx.job.create_channel("loss", neptune.ChannelType.NUMERIC)
notes = ctx.job.create_channel("notes", neptune.ChannelType.TEXT)
step = 0
while not os.path.exists("enough"):
    loss.send(step, step / 3)
    notes.send(step, f"note {step}")
    sys.stdout.write(f"line {step} größe " + "x" * (step % 90))
    # A line is not whole for most of the time.
    sys.stdout.flush()
    time.sleep(0.001)
    sys.stdout.write("\\n")
    step += 1
print("the end", flush=True)
"""


def neptune_server(*arguments: str | pathlib.Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["neptune-server", *map(str, arguments)], capture_output=True, text=True, timeout=120
    )


@contextlib.contextmanager
def started(folder: pathlib.Path, **environment: str) -> Iterator[Server]:
    folder.mkdir(exist_ok=True)
    server = Server(folder)
    server.environment.update(environment)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def check(server: Server) -> None:
    checked = neptune_server("check", "--data", server.folder / "data")
    assert checked.returncode == 0 and "all as written" in checked.stdout, checked.stdout + checked.stderr


def test_a_backup_under_load_has_all_that_was_acknowledged(tmp_path: pathlib.Path) -> None:
    enough = threading.Event()
    acknowledged = dict.fromkeys(range(4), 0)

    def write(server: Server, writer: int, job: str) -> None:
        part = 0
        while not enough.is_set():
            steps = range(part * 500, part * 500 + 500)
            points = {"y": [[step, step * 3 + writer] for step in steps]}
            stored = server.request("POST", f"/jobs/{job}/points", points, {"Idempotency-Key": f"{part}"})
            assert stored.status == 200, stored.body
            part += 1
            acknowledged[writer] = part * 500

    # Everything is sealed as it comes.
    with started(tmp_path / "server", NEPTUNE_SERVER_SEAL_AFTER_SECONDS="0") as server:
        assert server.request("POST", "/projects", {"key": "LOAD", "name": "load"}).status == 201
        jobs = [
            server.request("POST", "/jobs", {"project": "LOAD", "name": f"{writer}"}).json()["id"]
            for writer in acknowledged
        ]
        threads = [
            threading.Thread(target=write, args=(server, writer, job)) for writer, job in enumerate(jobs)
        ]
        for thread in threads:
            thread.start()
        backups: list[dict[int, int]] = []
        try:
            for at in range(3):
                wait_until("more is written", written_beyond(acknowledged, (at + 1) * 5_000))
                backups.append(dict(acknowledged))
                taken = neptune_server(
                    "backup", "--data", server.folder / "data", "--to", tmp_path / "backup"
                )
                assert taken.returncode == 0, taken.stderr
                data = tmp_path / f"restored{at}" / "data"
                restored = neptune_server("restore", "--from", tmp_path / "backup", "--data", data)
                assert restored.returncode == 0, restored.stderr
        finally:
            enough.set()
            for thread in threads:
                thread.join()
    for at, least in enumerate(backups):
        folder = tmp_path / f"restored{at}"
        checked = neptune_server("check", "--data", folder / "data")
        assert checked.returncode == 0 and "all as written" in checked.stdout, checked.stdout
        with started(folder) as other:
            for writer, job in enumerate(jobs):
                y = other.points(job, "y")["y"]
                assert least[writer] <= len(y) <= acknowledged[writer] + 500
                assert y == [step * 3 + writer for step in range(len(y))]


def written_beyond(acknowledged: dict[int, int], points: int) -> Callable[[], bool]:
    return lambda: min(acknowledged.values()) >= points


def test_a_job_that_prints_is_exported_and_its_rest_is_brought_later(
    server: Server, cli: Cli, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "main.py").write_text(PRINTER)
    program = cli.start("run", "main.py", "--project", "Prints")
    job = wait_until("the job is registered", server.jobs)[0]["id"]
    project = job.split("-")[0]
    parcels = []
    with started(tmp_path / "other") as other:
        there = Cli(tmp_path, other.url)
        for at in range(3):
            wait_until("it prints", printed_beyond(server, job, at * 300 + 100))
            parcels.append(f"parcel{at}")
            exported = cli.run("export", project, "--to", parcels[-1])
            assert exported.returncode == 0, exported.stderr
            imported = there.run("import", parcels[-1], "--json")
            assert imported.returncode == 0, imported.stderr
            result = json.loads(imported.stdout)
            assert (result["jobs"], result["failed"]) == (1, []) and result["points"] > 0, result
            assert other.job(job)["state"] == "lost"
            again = json.loads(there.run("import", parcels[-1], "--json").stdout)
            assert again == {"jobs": 1, "points": 0, "here": [], "failed": []}, again
        (tmp_path / "enough").touch()
        _, errors = program.communicate(timeout=60)
        assert program.returncode == 0, errors
        wait_until("the job has ended", lambda: server.job(job)["state"] == "succeeded")
        assert cli.run("export", project, "--to", "whole").returncode == 0
        # All that it produced is brought; of its end it is said that it is not.
        rest = there.run("import", "whole", "--json")
        assert rest.returncode == 1, rest.stderr
        result = json.loads(rest.stdout)
        assert result["jobs"] == 1 and result["points"] > 0, result
        assert [failed["job"] for failed in result["failed"]] == [job]
        assert "here it is lost" in result["failed"][0]["why"] and "succeeded" in rest.stderr, rest.stderr
        whole, found = channels_of(server), channels_of(other)
        assert found == whole
        # An older export takes nothing away.
        older = there.run("import", parcels[0], "--json")
        assert json.loads(older.stdout)["points"] == 0, older.stderr
        assert channels_of(other) == whole
        # As it was told: removed, it comes whole.
        assert there.run("delete", job, "--now").returncode == 0
        assert there.run("import", "whole").returncode == 0
        assert channels_of(other) == whole and other.jobs()[0]["state"] == "succeeded"
    check(other)


def channels_of(server: Server) -> Any:
    """What the one job of a server has in its channels; of a line of a log only when it began is exported."""
    (answers,) = all_answers(server)["jobs"].values()
    for channel in answers["channels"].values():
        if channel["channel"]["origin"] == "stdout":
            summary = channel["channel"]["summary"]
            channel["channel"]["summary"] = {name: summary[name] for name in ["count", "log_bytes"]}
    return answers["channels"]


def printed_beyond(server: Server, job: str, lines: int) -> Callable[[], bool]:
    def printed() -> bool:
        channel = server.channels(job).get("sys/stdout")
        return bool(channel and channel["summary"]["count"] > lines)

    return printed


def test_what_hinders_one_job_does_not_hinder_the_others(tmp_path: pathlib.Path) -> None:
    shutil.copytree(FIXTURE / "data", tmp_path / "filled" / "data")
    with started(tmp_path / "filled") as filled, started(tmp_path / "other") as other:
        cli, there = Cli(tmp_path, filled.url), Cli(tmp_path, other.url)
        assert cli.run("export", "FIXTURE", "--to", "parcel").returncode == 0
        assert there.run("import", "parcel").returncode == 0
        first, second = [job["id"] for job in all_jobs(other)][:2]
        assert there.run("delete", first).returncode == 0
        assert other.request("PATCH", f"/jobs/{second}", {"name": "another name"}).status == 200
        before = all_answers(other)
        again = there.run("import", "parcel", "--json")
        assert again.returncode == 1 and "2 jobs are not, or not wholly, here" in again.stderr, again.stderr
        result = json.loads(again.stdout)
        assert (result["jobs"], result["points"], result["here"]) == (4, 0, [])
        why = {failed["job"]: failed["why"] for failed in result["failed"]}
        assert set(why) == {first, second}
        assert "neptune restore" in why[first] and "which is another" in why[second], why
        assert all_answers(other) == before
        # An export says what it is without.
        left = cli.run("delete", job_named(filled, "empty"))
        assert left.returncode == 0, left.stderr
        exported = cli.run("export", "FIXTURE", "--to", "less", "--json")
        assert json.loads(exported.stdout)["left_out"] == {"deleted": 1, "removed": []}
        assert "1 deleted jobs are left out" in exported.stderr


def job_named(server: Server, name: str) -> str:
    (job,) = [job["id"] for job in all_jobs(server) if job["name"] == name]
    return str(job)


class Counting(http.server.ThreadingHTTPServer):
    """Passes requests on to a server, and kills a program at its n-th, before or behind what the server does."""

    daemon_threads = True

    def __init__(self, server: Server) -> None:
        self.host = server.url.removeprefix("http://")
        self.left, self.answers = 0, False
        self.lock = threading.Lock()
        self.program: subprocess.Popen[str] | None = None
        super().__init__(("127.0.0.1", 0), Passing)

    def is_last(self, request: str) -> bool:
        with self.lock:
            self.left -= 1
            return self.left == 0

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A program that was killed takes no answer; what else goes wrong fails its import."""

    def kill(self) -> None:
        assert self.program
        self.program.kill()
        self.program.wait()


class Passing(http.server.BaseHTTPRequestHandler):
    server: Counting
    protocol_version = "HTTP/1.1"

    def pass_on(self) -> None:
        is_last = self.server.is_last(f"{self.command} {self.path}")
        if is_last and not self.server.answers:
            return self.server.kill()
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        if len(body) < length:
            # Its program was killed at another request.
            return None
        with contextlib.closing(http.client.HTTPConnection(self.server.host, timeout=60)) as passed:
            headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
            passed.request(self.command, self.path, body, {**headers, "Host": self.server.host})
            answer = passed.getresponse()
            content = answer.read()
        if is_last:
            return self.server.kill()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "content-length", "connection"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        return None

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = pass_on

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@pytest.mark.parametrize("answers", [False, True], ids=["before the server", "behind the server"])
def test_an_import_killed_at_any_request_and_repeated_is_whole(answers: bool, tmp_path: pathlib.Path) -> None:
    shutil.copytree(FIXTURE / "data", tmp_path / "filled" / "data")
    with started(tmp_path / "filled") as filled:
        wanted = all_answers(filled)
        assert Cli(tmp_path, filled.url).run("export", "FIXTURE", "--to", "parcel").returncode == 0
        wanted["projects"] = [project for project in wanted["projects"] if project["key"] == "FIXTURE"]
        wanted["jobs"][job_named(filled, "runs")]["job"].update(
            state="lost", reason="ran when it was exported"
        )
    with started(tmp_path / "other") as other, Counting(other) as counting:
        counting.answers = answers
        threading.Thread(target=counting.serve_forever, daemon=True).start()
        cli = Cli(tmp_path, f"http://127.0.0.1:{counting.server_port}")
        for request in range(1, 1000):
            counting.left = request
            counting.program = cli.start("import", "parcel")
            out, errors = counting.program.communicate(timeout=60)
            if counting.program.returncode >= 0:
                break
        assert counting.program and counting.program.returncode == 0, errors
        assert request > 10, "it was killed only a few times"
        assert all_answers(other) == wanted
        again = Cli(tmp_path, other.url).run("import", "parcel", "--json")
        assert again.returncode == 0, again.stderr
        assert json.loads(again.stdout) == {"jobs": 6, "points": 0, "here": [], "failed": []}
        counting.shutdown()
    check(other)


class Meddling(Counting):
    """Passes requests on; something else is done to the server before the n-th, or each (0), whose address has certain words."""

    def __init__(self, server: Server, words: str, nth: int, then: Callable[[], Any]) -> None:
        super().__init__(server)
        self.words, self.left, self.then = words, nth, then
        self.each = nth == 0

    def is_last(self, request: str) -> bool:
        if self.words in request and (super().is_last(request) or self.each):
            self.then()
        return False


@contextlib.contextmanager
def meddled(server: Server, words: str, nth: int, then: Callable[[], Any]) -> Iterator[str]:
    """The address at which that is done; it must have been asked for so often in the end."""
    with Meddling(server, words, nth, then) as meddling:
        threading.Thread(target=meddling.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{meddling.server_port}"
        meddling.shutdown()
        assert meddling.left <= 0, f"{words} was not asked for often enough: {meddling.left}"


def fill_and_export(first: Server, second: Server, tmp_path: pathlib.Path, parts: list[int]) -> str:
    """A job, exported early with the first part of its points, imported by the second server, and exported late with all."""
    values = random.Random(7)
    assert first.request("POST", "/projects", {"key": "LONG", "name": "long"}).status == 201
    job = str(first.request("POST", "/jobs", {"project": "LONG", "name": "long"}).json()["id"])
    cli = Cli(tmp_path, first.url)
    for part, points in enumerate(parts):
        steps = range(part * 100_000, part * 100_000 + points)
        body = {"y": [[step, values.random()] for step in steps], "note": [[part, f"part {part}"]]}
        stored = first.request("POST", f"/jobs/{job}/points", body, {"Idempotency-Key": f"{part}"})
        assert stored.status == 200, stored.body
        if part == 0:
            assert cli.run("export", "LONG", "--to", "early").returncode == 0
            assert Cli(tmp_path, second.url).run("import", "early").returncode == 0
    assert cli.run("export", "LONG", "--to", "late").returncode == 0
    return job


def test_imports_of_a_later_export_at_once_bring_it_once(tmp_path: pathlib.Path) -> None:
    with started(tmp_path / "from") as first, started(tmp_path / "to") as second:
        # The early one is of less than one request of an import, what is late of several.
        fill_and_export(first, second, tmp_path, [100, 30_000, 30_000, 30_000])
        beside: list[dict[str, Any]] = []

        def import_beside() -> None:
            imported = Cli(tmp_path, second.url).run("import", "late", "--json")
            assert imported.returncode == 0, imported.stderr
            beside.append(json.loads(imported.stdout))

        # After one that another export has the key of, and the first behind what that one brought.
        with meddled(second, "/frames", 3, import_beside) as url:
            imported = Cli(tmp_path, url).run("import", "late", "--json")
        assert imported.returncode == 0, imported.stderr
        mine, others = json.loads(imported.stdout), beside[0]
        assert mine["points"] > 0 and others["points"] > 0 and mine["points"] + others["points"] == 90_003
        assert all_answers(second) == all_answers(first)
    check(second)


def test_an_import_gives_up_where_others_are_always_sooner(tmp_path: pathlib.Path) -> None:
    with started(tmp_path / "from") as first, started(tmp_path / "to") as second:
        job = fill_and_export(first, second, tmp_path, [100, 100])
        added: list[int] = []

        def add() -> None:
            added.append(len(added))
            body = {"more": [[added[-1], 1]]}
            stored = second.request("POST", f"/jobs/{job}/points", body, {"Idempotency-Key": f"{len(added)}"})
            assert stored.status == 200, stored.body

        with meddled(second, "/frames", 0, add) as url:
            imported = Cli(tmp_path, url).run("import", "late", "--json")
        assert imported.returncode == 1, imported.stderr
        (failed,) = json.loads(imported.stdout)["failed"]
        assert failed["job"] == job and "somebody else adds points to it" in failed["why"], failed
        assert len(added) == 9, "once by the keys of the first import, 8 times behind what is there"
        assert Cli(tmp_path, second.url).run("import", "late").returncode == 0
        assert second.points(job, "y") == first.points(job, "y")
        assert second.points(job, "more")["x"] == added
    check(second)


def test_an_image_that_went_before_it_was_named_is_uploaded_again(tmp_path: pathlib.Path) -> None:
    shutil.copytree(FIXTURE / "data", tmp_path / "filled" / "data")
    with (
        started(tmp_path / "filled") as filled,
        started(tmp_path / "other", NEPTUNE_SERVER_GRACE_DAYS="0") as other,
    ):
        job = job_named(filled, "a whole job")
        assert Cli(tmp_path, filled.url).run("export", job, "--to", "parcel").returncode == 0
        blobs = other.folder / "data" / "blobs"
        counts: list[int] = []

        def collect() -> None:
            counts.append(sum(path.is_file() for path in blobs.rglob("*")))
            for _ in range(3):
                assert other.request("POST", "/collector").status == 200
            counts.append(sum(path.is_file() for path in blobs.rglob("*")))

        with meddled(other, "/frames", 1, collect) as url:
            imported = Cli(tmp_path, url).run("import", "parcel", "--json")
        assert imported.returncode == 0, imported.stderr
        assert counts[0] > counts[1] > 0, counts
        assert all_answers(other)["jobs"] == {job: all_answers(filled)["jobs"][job]}
        assert sum(path.is_file() for path in blobs.rglob("*")) == counts[0]
    check(other)


def test_a_job_removed_before_its_images_are_exported_is_left_out(tmp_path: pathlib.Path) -> None:
    shutil.copytree(FIXTURE / "data", tmp_path / "filled" / "data")
    with started(tmp_path / "filled") as filled, started(tmp_path / "other") as other:
        job, runs = job_named(filled, "a whole job"), job_named(filled, "runs")
        # While it may live, files of others are left to the collector.
        exit = {"how": {"kind": "code", "code": 0}, "ended_micros": 1}
        assert filled.request("PUT", f"/attempts/{runs}/1/exit", exit).status == 200
        (picture,) = [
            image["digest"]
            for channel in filled.channels(job).values()
            if channel["kind"] == "image"
            for image in filled.get(f"/jobs/{job}/channels/{channel['name']}/images")["images"][:1]
        ]

        def remove() -> None:
            assert filled.request("DELETE", f"/jobs/{job}?now=true").status == 200

        with meddled(filled, f"GET /api/v1/projects/FIXTURE/blobs/{picture}", 1, remove) as url:
            exported = Cli(tmp_path, url).run("export", "FIXTURE", "--to", "parcel", "--json")
        assert exported.returncode == 0, exported.stderr
        told = json.loads(exported.stdout)
        assert (told["jobs"], told["left_out"]) == (5, {"deleted": 0, "removed": [job]})
        assert Cli(tmp_path, other.url).run("import", "parcel").returncode == 0
        assert all_answers(other)["jobs"] == all_answers(filled)["jobs"]
