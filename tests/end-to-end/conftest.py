"""Real server, real programs, real browser: what each test of this folder gets.

A server is the released binary on port 0 with its data in the test's own folder; its log is shown when a test fails.
Programs are started as a person would start them. Every wait is for a condition and has a deadline.
"""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import signal
import struct
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"


Found = TypeVar("Found")


def wait_until(what: str, condition: Callable[[], Found], within: float = 30.0) -> Found:
    """Answers the first true value of the condition."""
    deadline = time.monotonic() + within
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {within} s, last {value!r}")
        time.sleep(0.02)


class Answer:
    """Status, headers and body of one HTTP answer, whatever the status."""

    def __init__(self, status: int, headers: Any, body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    def json(self) -> Any:
        return json.loads(self.body)


class Server:
    """One neptune-server process that can be killed and started again on the same port."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.listen = "127.0.0.1:0"
        self.url = ""
        self.process: subprocess.Popen[bytes] | None = None
        self.environment: dict[str, str] = {}

    @property
    def log(self) -> str:
        path = self.folder / "server.log"
        return path.read_text("utf-8", "replace") if path.exists() else ""

    def start(self) -> Server:
        port_file = self.folder / "url"
        port_file.unlink(missing_ok=True)
        program = shutil.which("neptune-server")
        assert program, "neptune-server is not in PATH; run the tests by `cargo xtask test`"
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    program,
                    "--data",
                    str(self.folder / "data"),
                    "--listen",
                    self.listen,
                    "--port-file",
                    str(port_file),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self.environment},
            )

        def ready() -> str:
            assert self.process and self.process.poll() is None, f"the server ended:\n{self.log}"
            return port_file.read_text("utf-8").strip() if port_file.exists() else ""

        self.url = wait_until("the server is ready", ready).rstrip("/")
        self.listen = self.url.removeprefix("http://")
        return self

    def wait_until_sealed(self) -> None:
        """Waits until nothing is open of the jobs in memory: of all that were asked for what they produced."""

        def open_bytes() -> int:
            metrics = urllib.request.urlopen(f"{self.url}/metrics", timeout=30).read().decode()
            (line,) = [line for line in metrics.splitlines() if line.startswith("neptune_unsealed_bytes ")]
            return int(float(line.split()[1]))

        wait_until("all points are sealed", lambda: open_bytes() == 0)

    def kill(self) -> None:
        assert self.process
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        assert self.process
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            assert self.process.wait(20) == 0, self.log

    def request(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str | None] | None = None
    ) -> Answer:
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/api/v1{path}", data=data, method=method)
        if isinstance(body, dict | list):
            request.add_header("Content-Type", "application/json")
        request.add_header("Neptune-Client", "end-to-end")
        for name, value in (headers or {}).items():
            if value is None:
                request.remove_header(name.capitalize())
            else:
                request.add_header(name, value)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return Answer(answer.status, answer.headers, answer.read())
        except urllib.error.HTTPError as error:
            return Answer(error.code, error.headers, error.read())

    def get(self, path: str) -> Any:
        answer = self.request("GET", path)
        assert answer.status == 200, f"GET {path}: {answer.status} {answer.body!r}"
        return answer.json()

    def jobs(self) -> list[dict[str, Any]]:
        return self.get("/jobs")["items"]

    def job(self, job: str) -> dict[str, Any]:
        return self.get(f"/jobs/{job}")

    def points(self, job: str, channel: str, query: str = "") -> dict[str, list[Any]]:
        """Every point of a channel, over all pages."""
        whole: dict[str, list[Any]] = {"x": [], "y": [], "time": []}
        path = f"/jobs/{job}/channels/{urllib.parse.quote(channel, safe='')}/points?limit=1000{query}"
        cursor = ""
        while True:
            page = self.get(path + cursor)
            for name in whole:
                whole[name] += page[name]
            if page["next"] is None:
                return whole
            cursor = "&cursor=" + urllib.parse.quote(page["next"], safe="")

    def channels(self, job: str) -> dict[str, dict[str, Any]]:
        return {channel["name"]: channel for channel in self.get(f"/jobs/{job}/channels")}

    def lines(self, job: str, channel: str) -> list[str]:
        found = self.get(f"/jobs/{job}/channels/{urllib.parse.quote(channel, safe='')}/text?limit=10000")
        return [line["text"] for line in found["lines"]]


@pytest.fixture
def server(tmp_path: pathlib.Path, request: pytest.FixtureRequest) -> Iterator[Server]:
    folder = tmp_path / "server"
    folder.mkdir()
    server = Server(folder).start()
    yield server
    if server.process and server.process.poll() is None:
        server.stop()
    panics = [line for line in server.log.splitlines() if "panicked" in line]
    assert not panics, panics


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    report = yield
    if report.when == "call" and report.failed:
        server = getattr(item, "funcargs", {}).get("server")
        if isinstance(server, Server):
            report.sections.append(("the server's log", server.log[-8000:]))
    return report


class Cli:
    """The `neptune` command, with spool and home in the test's own folder."""

    def __init__(self, folder: pathlib.Path, url: str) -> None:
        self.folder = folder
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("NEPTUNE_")},
            "NEPTUNE_URL": url,
            "NEPTUNE_SPOOL_DIR": str(folder / "spool"),
            "HOME": str(folder),
        }

    def start(self, *arguments: str, cwd: pathlib.Path | None = None) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["neptune", *arguments],
            cwd=cwd or self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(
        self, *arguments: str, cwd: pathlib.Path | None = None, within: float = 120.0
    ) -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments, cwd=cwd)
        try:
            out, err = process.communicate(timeout=within)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            raise AssertionError(f"neptune {arguments} took over {within} s\n{out}\n{err}") from None
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)


@pytest.fixture
def cli(tmp_path: pathlib.Path, server: Server) -> Cli:
    return Cli(tmp_path, server.url)


@pytest.fixture
def page() -> Iterator[Any]:
    """A page of a headless Chromium; an error on its console fails the test."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=os.environ.get("NEPTUNE_TEST_CHROMIUM", "/usr/bin/chromium"),
            args=[
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
            ],
        )
        page = browser.new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        yield page
        browser.close()
        assert not errors, errors


def read_columns(body: bytes) -> list[dict[str, Any]]:
    """Reads application/vnd.neptune.columns by its documented layout."""
    assert body[:4] == b"NPC1"
    (length,) = struct.unpack_from("<I", body, 4)
    header = json.loads(body[8 : 8 + length])
    at = (8 + length + 7) // 8 * 8
    tables = []
    for table in header["tables"]:
        columns = {}
        for column in table["columns"]:
            code = {"f64": "d", "i64": "q", "u64": "Q"}[column["type"]]
            columns[column["name"]] = list(struct.unpack_from(f"<{table['rows']}{code}", body, at))
            at += 8 * table["rows"]
        tables.append({"name": table["name"], "meta": table["meta"], "columns": columns})
    assert at == len(body)
    return tables
