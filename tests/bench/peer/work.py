"""The work that every peer does, and how it is measured: the same points, the same questions, one number for each.

A peer says how it logs, serves and answers; what is asked of it, how often and with what numbers stands here. Servers listen
on loopback only and are ended by their process ids. Everything lies in the current folder.
"""

from __future__ import annotations

import json
import math
import os
import random
import signal
import socket
import subprocess
import sys
import time
import traceback
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

#: Points of the chart, sent as one metric; the one that stands out is at a third.
CHART_POINTS = 100_000
SPIKE_AT = CHART_POINTS // 3
SPIKE = 1e6
#: Width of the chart, where a peer lets one choose.
PIXELS = 1_000
LOG_CALLS = 5_000
#: What takes longer is ended and measured by what was done until then.
LOG_SECONDS = 10.0
#: For each run of the table; MLflow needs half of it on a quiet machine of two cores.
FILL_SECONDS_PER_RUN = 0.1
READY_SECONDS = 90.0
CHART_ROUNDS = 10
TABLE_ROUNDS = 5

Numbers = dict[str, float]


def loss_of(step: int) -> float:
    """A noisy falling loss with one spike; the same for everybody."""
    if step == SPIKE_AT:
        return SPIKE
    noise = math.sin(step * 12.9898) * 43758.5453
    return 0.2 + 2.0 / (1.0 + step * 1e-4) + 0.1 * (noise - math.floor(noise))


def run_metrics(number: int) -> tuple[float, float]:
    """What the two metrics of a run in the table end at."""
    chance = random.Random(number)
    return chance.random(), chance.random()


def wanted_runs(count: int) -> list[str]:
    """The names of the runs that the filter and the sort of the table must answer."""
    metrics = {f"run {i}": run_metrics(i) for i in range(count)}
    kept = [name for name, (loss, acc) in metrics.items() if loss < 0.5 and acc > 0.2]
    return sorted(kept, key=lambda name: -metrics[name][0])[:100]


class Unable(Exception):
    """A peer has nothing of the kind; the text says so."""


class Refused(Exception):
    """A server answered with an error."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"status {status}: {text}")
        self.status = status


class Peer:
    """One program that keeps metrics. Methods that a peer does not have stay as they are here."""

    #: Answers 200 when the server is ready.
    ready_path = "/"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.server: subprocess.Popen[bytes] | None = None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        #: On disk before anything was written, and points written since.
        self.empty_bytes = 0
        self.points = 0
        self.url = f"http://127.0.0.1:{self.port}"

    def version(self) -> str:
        raise NotImplementedError

    def serve_command(self) -> list[str]:
        raise Unable("it has no server")

    def logger(self) -> Callable[[int, float], object]:
        """A call that logs one value at one step, in a run of its own."""
        raise NotImplementedError

    def end_logger(self) -> None:
        """Ends the run of `logger`."""

    def queued_logger(self) -> Callable[[int, float], object]:
        """The same where the peer has a second kind of call, which only lines values up."""
        raise Unable("it has one kind of call")

    def begin_series(self) -> None:
        """Makes the run that `write_series` fills."""

    def write_series(self, values: list[float]) -> None:
        """Writes a metric of that run by the fastest ordinary way and returns when all of it is stored."""
        raise NotImplementedError

    def read_chart(self) -> list[float]:
        """The values that the peer's own page would draw of that metric."""
        raise Unable("it has no chart on this machine")

    def write_run(self, number: int, loss: float, acc: float) -> None:
        """Writes a run with two metrics for the table, named `run NUMBER`."""
        raise Unable("it has no table on this machine")

    def runs_written(self) -> None:
        """All runs of the table are written."""

    def read_table(self) -> list[str]:
        """The names of the first hundred runs with loss < 0.5 and acc > 0.2, largest loss first, as far as it can."""
        raise Unable("it has no table on this machine")

    #: A log call returns before its value is stored.
    log_is_queued = True
    #: What of the filter and the sort the peer cannot do; then its rows are not checked.
    table_lacks = ""

    def start(self) -> float:
        """Starts the server; seconds to its first 200."""
        command = self.serve_command()
        begin = time.perf_counter()
        with open(self.folder / "server.log", "ab") as log:
            # A group of its own, so that its workers end with it.
            self.server = subprocess.Popen(
                command,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        while time.perf_counter() - begin < READY_SECONDS:
            if self.server.poll() is not None:
                raise RuntimeError(f"the server ended with {self.server.returncode}: {self.log_tail()}")
            try:
                self.ask(self.ready_path)
                return time.perf_counter() - begin
            except (OSError, Refused):
                time.sleep(0.005)
        raise RuntimeError(f"the server was not ready within {READY_SECONDS:.0f} s: {self.log_tail()}")

    def stop(self) -> None:
        """Ends the server and what it started."""
        if self.server is None:
            return
        for sign, patience in ((signal.SIGTERM, 15.0), (signal.SIGKILL, 15.0)):
            try:
                os.killpg(self.server.pid, sign)
                self.server.wait(patience)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                pass
        self.server = None

    def resident_mib(self) -> float:
        """Resident memory of the server's processes."""
        if self.server is None:
            raise Unable("it has no server")
        total = 0.0
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                group = int(stat.read_text().rpartition(") ")[2].split()[2])
                if group == self.server.pid:
                    for line in (stat.parent / "status").read_text().splitlines():
                        if line.startswith("VmRSS:"):
                            total += float(line.split()[1]) / 1024
            except (OSError, ValueError):
                continue  # it has ended meanwhile
        return total

    def settled_bytes(self) -> int:
        """What the peer keeps on disk, when everything written is where it belongs."""
        return disk_bytes(self.folder)

    def ask(self, path: str, body: Any = None, **headers: str) -> bytes:
        """GET, or POST of JSON."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", **headers}
        request = urllib.request.Request(self.url + path, data, headers)
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return bytes(answer.read())
        except urllib.error.HTTPError as error:
            raise Refused(error.code, error.read().decode(errors="replace")[:300]) from None

    def log_tail(self) -> str:
        return (self.folder / "server.log").read_text(errors="replace")[-1500:]


def quantile(values: list[float], part: float) -> float:
    return sorted(values)[round(part * (len(values) - 1))]


def disk_bytes(folder: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    begin = time.perf_counter()
    result = call()
    return time.perf_counter() - begin, result


def measure_start(peer: Peer) -> Numbers:
    seconds = peer.start()
    time.sleep(3)
    return {"start_seconds": seconds, "idle_mib": peer.resident_mib()}


def measure_empty(peer: Peer) -> Numbers:
    peer.empty_bytes = peer.settled_bytes()
    return {}


def time_calls(log: Callable[[int, float], object]) -> list[float]:
    """Microseconds of each call."""
    clock = time.perf_counter
    micros = []
    begin = clock()
    for step in range(LOG_CALLS):
        value = loss_of(step)
        before = clock()
        log(step, value)
        micros.append((clock() - before) * 1e6)
        if clock() - begin > LOG_SECONDS:
            break
    return micros


def measure_log(peer: Peer) -> Numbers:
    micros = time_calls(peer.logger())
    peer.points = len(micros)
    peer.end_logger()
    numbers = {"log_p50_micros": quantile(micros, 0.5), "log_p99_micros": quantile(micros, 0.99)}
    try:
        micros = time_calls(peer.queued_logger())
    except Unable:
        # Its call returned before the value was stored, so both are the same.
        micros = micros if peer.log_is_queued else []
    else:
        peer.points += len(micros)
        peer.end_logger()
    if micros:
        numbers["queued_p50_micros"] = quantile(micros, 0.5)
        numbers["queued_p99_micros"] = quantile(micros, 0.99)
    return numbers


def measure_series(peer: Peer) -> Numbers:
    values = [loss_of(step) for step in range(CHART_POINTS)]
    peer.begin_series()
    seconds, _ = timed(lambda: peer.write_series(values))
    peer.points += CHART_POINTS
    return {"ingest_points_per_sec": CHART_POINTS / seconds}


def measure_disk(peer: Peer) -> Numbers:
    return {"bytes_per_point": (peer.settled_bytes() - peer.empty_bytes) / peer.points}


def measure_chart(peer: Peer) -> Numbers:
    # Cold: the first time after the server was started again.
    peer.stop()
    peer.start()
    cold, values = timed(peer.read_chart)
    warm = [timed(peer.read_chart)[0] for _ in range(CHART_ROUNDS)]
    if not values:
        raise RuntimeError("the chart is empty")
    kept = any(value >= SPIKE * 0.999 for value in values)
    return {
        "chart_cold_millis": cold * 1e3,
        "chart_warm_millis": quantile(warm, 0.5) * 1e3,
        "chart_values": float(len(values)),
        "spike_kept": float(kept),
    }


def measure_table(peer: Peer, runs: int) -> Numbers:
    begin = time.perf_counter()
    written = 0
    for number in range(runs):
        peer.write_run(number, *run_metrics(number))
        written += 1
        if time.perf_counter() - begin > runs * FILL_SECONDS_PER_RUN:
            break
    peer.runs_written()
    peer.read_table()
    times = []
    for _ in range(TABLE_ROUNDS):
        seconds, names = timed(peer.read_table)
        times.append(seconds * 1e3)
        if not peer.table_lacks and names != wanted_runs(written):
            raise RuntimeError(f"not the rows of a plain sort: {names[:5]} … ({len(names)})")
    return {"table_warm_millis": quantile(times, 0.5), "table_runs": float(written)}


def measure(make: Callable[[Path], Peer]) -> None:
    """Does all the work in the current folder and writes what came of it to the file that the command line names.

    Whoever starts this makes the folder and lets HOME point to it: libraries look there as soon as they are imported.
    """
    out, runs = Path(sys.argv[1]), int(sys.argv[2])
    # Asked to end, it ends its server first.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(f"ended by signal {number}"))
    numbers: Numbers = {}
    lacking: dict[str, str] = {}
    peer = make(Path.cwd())
    steps: dict[str, Callable[[], Numbers]] = {
        "start": lambda: measure_start(peer),
        "empty": lambda: measure_empty(peer),
        "log": lambda: measure_log(peer),
        "series": lambda: measure_series(peer),
        "disk": lambda: measure_disk(peer),
        "chart": lambda: measure_chart(peer),
        "table": lambda: measure_table(peer, runs),
    }
    try:
        for name, step in steps.items():
            try:
                numbers.update(step())
            except Unable as why:
                lacking[name] = str(why)
            except Exception as error:
                traceback.print_exc()
                lacking[name] = f"{type(error).__name__}: {error}"[:500]
    finally:
        peer.stop()
    if peer.table_lacks:
        lacking["table"] = "; ".join(filter(None, [peer.table_lacks, lacking.get("table")]))
    report = {"version": peer.version(), "numbers": numbers, "lacking": lacking}
    out.write_text(json.dumps(report), encoding="utf-8")
