"""Bad input and faults: each has a designed answer, and nothing is lost."""

from __future__ import annotations

import contextlib
import http.client
import json
import pathlib
import re
import signal
import time

from conftest import Cli, Server, wait_until

CONFIG = """
name: faults
project: faults
parameters:
  - name: amplitude
    type: double
    required: true
  - name: steps
    type: int
    required: false
    default: 3
"""

SENDER = """
import sys, time
from deepsense import neptune

ctx = neptune.Context()
channel = ctx.job.create_channel("n", neptune.ChannelType.NUMERIC)
slowest = 0.0
for i in range(int(sys.argv[1])):
    began = time.perf_counter()
    channel.send(float(i), float(i))
    slowest = max(slowest, time.perf_counter() - began)
    print("line", i, flush=True)
    time.sleep(0.002)
print("slowest", slowest, flush=True)
"""


def test_bad_input_is_refused_before_anything_is_registered(
    server: Server, cli: Cli, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "main.py").write_text("print('must not run')\n")
    (tmp_path / "good.yaml").write_text(CONFIG)
    (tmp_path / "typo.yaml").write_text(CONFIG.replace("project:", "projcet:"))
    cases = [
        (
            ["run", "main.py", "--config", "typo.yaml", "--", "--amplitude", "1"],
            ["typo.yaml", "projcet", "project"],
        ),
        (["run", "main.py", "--config", "good.yaml"], ["good.yaml", "amplitude", "--amplitude"]),
        (
            ["run", "main.py", "--config", "good.yaml", "--", "--amplitude", "abc"],
            ["amplitude", "abc", "double"],
        ),
        (
            ["run", "main.py", "--config", "good.yaml", "--", "--amplitude", "1", "--stepz", "2"],
            ["stepz", "steps"],
        ),
        (["run", "mian.py", "--config", "good.yaml", "--", "--amplitude", "1"], ["mian.py"]),
        (["run", "main.py", "--config", "none.yaml"], ["none.yaml"]),
    ]
    for arguments, words in cases:
        run = cli.run(*arguments)
        assert run.returncode == 2, (arguments, run.stdout, run.stderr)
        assert "must not run" not in run.stdout
        for word in words:
            assert word in run.stderr, (arguments, word, run.stderr)
    assert server.jobs() == []


def test_without_a_server_the_program_runs_and_sync_uploads_it(
    server: Server, cli: Cli, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "main.py").write_text(SENDER)
    server.stop()
    run = cli.run("run", "main.py", "--tag", "offline", "--", "200")
    assert run.returncode == 0, run.stderr
    assert "line 199" in run.stdout
    notices = [line for line in run.stderr.splitlines() if "neptune sync" in line]
    assert notices, run.stderr
    server.start()
    assert server.jobs() == []
    sync = cli.run("sync")
    assert sync.returncode == 0, sync.stderr
    (job,) = server.jobs()
    assert (job["state"], job["tags"], job["dropped_points"]) == ("succeeded", ["offline"], 0)
    assert server.points(job["id"], "n")["y"] == [float(i) for i in range(200)]
    assert server.lines(job["id"], "sys/stdout")[:2] == ["line 0", "line 1"]
    again = cli.run("sync")
    assert again.returncode == 0
    assert len(server.jobs()) == 1
    assert server.channels(job["id"])["n"]["summary"]["count"] == 200


def test_the_program_notices_nothing_of_a_killed_server(
    server: Server, cli: Cli, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "main.py").write_text(SENDER)
    program = cli.start("run", "main.py", "--", "2000")
    job = wait_until("the job is registered", server.jobs)[0]["id"]
    for _ in range(3):
        time.sleep(0.5)  # The server is killed at some moment of the run, not at a condition of it.
        server.kill()
        time.sleep(0.3)
        server.start()
    out, err = program.communicate(timeout=120)
    assert program.returncode == 0, err
    slowest = float(re.search(r"slowest ([0-9.e-]+)", out).group(1))  # type: ignore[union-attr]
    assert slowest < 0.1, f"one send took {slowest} s"
    found = wait_until("the job has ended", lambda: (j := server.job(job))["state"] == "succeeded" and j)
    assert found["dropped_points"] == 0
    assert server.points(job, "n")["y"] == [float(i) for i in range(2000)]
    lines = server.lines(job, "sys/stdout")
    assert lines[:2000] == [f"line {i}" for i in range(2000)]


def test_ctrl_c_ends_the_whole_tree_and_the_job_is_aborted(
    server: Server, cli: Cli, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "main.py").write_text(
        "import os, subprocess, sys, time\n"
        "child = subprocess.Popen(['setsid', 'sleep', '1000'])\n"
        "open('pids', 'w').write(f'{os.getpid()} {child.pid}')\n"
        "time.sleep(1000)\n"
    )
    program = cli.start("run", "main.py")
    pids = wait_until(
        "it runs", lambda: (p := tmp_path / "pids").exists() and len(p.read_text().split()) == 2
    )
    assert pids
    program.send_signal(signal.SIGINT)
    program.communicate(timeout=30)
    for pid in (tmp_path / "pids").read_text().split():
        status = pathlib.Path(f"/proc/{pid}/status")
        gone = not status.exists() or "State:\tZ" in status.read_text()
        assert gone, f"process {pid} of the tree still lives"
    (job,) = server.jobs()
    assert job["state"] == "aborted"


def status_of_a_large_body(server: Server, size: int) -> int:
    """The server answers before it has read everything, so sending may break off; the answer is there all the same."""
    connection = http.client.HTTPConnection(server.listen, timeout=30)
    connection.putrequest("POST", "/api/v1/jobs")
    connection.putheader("Content-Type", "application/json")
    connection.putheader("Content-Length", str(size))
    connection.endheaders()
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        for _ in range(size >> 20):
            connection.send(b"x" * (1 << 20))
    status = connection.getresponse().status
    connection.close()
    return status


def test_bodies_that_are_wrong_are_problems_and_the_server_lives_on(server: Server) -> None:
    assert server.request("POST", "/projects", {"key": "A", "name": "a"}).status in (200, 201)
    job = server.request("POST", "/jobs", {"project": "A", "name": "x"}).json()["id"]
    cases = [
        ("POST", "/jobs", {"project": "A", "name": "x", "prams": []}, 4, "prams"),
        ("POST", "/jobs", {"project": "NONE", "name": "x"}, 4, "NONE"),
        ("POST", f"/jobs/{job}/points", {"loss": [[1]]}, 4, "point"),
        ("GET", f"/jobs/{job}/channels/nope/points", None, 4, "nope"),
        ("GET", "/jobs/A-99", None, 4, "A-99"),
        ("GET", "/jobs/nonsense", None, 4, "TRIG-12"),
        ("GET", "/envelope?series=A-1", None, 4, "TRIG-12/loss"),
        ("DELETE", "/jobs", None, 4, ""),
    ]
    for method, path, body, status, word in cases:
        answer = server.request(method, path, body, {"Idempotency-Key": "k"})
        assert answer.status // 100 == status, (method, path, answer.status, answer.body)
        assert answer.headers["Content-Type"] == "application/problem+json", (method, path)
        assert word in json.dumps(answer.json(), ensure_ascii=False), (method, path, answer.json())
    assert status_of_a_large_body(server, 64 << 20) == 413
    key = {"Idempotency-Key": "once"}
    for repeated in [False, True]:
        answer = server.request("POST", f"/jobs/{job}/points", {"loss": [[1, 0.5], [None, "NaN"]]}, key)
        assert answer.json() == {"points": 2, "repeated": repeated}
    assert server.points(job, "loss")["x"] == [1.0, 2.0]
    assert server.request("GET", "/server").status == 200


def test_other_sites_are_kept_out(server: Server) -> None:
    project = {"key": "A", "name": "a"}
    cases = [
        ({"Host": "evil.example"}, "foreign-host"),
        ({"Origin": "http://evil.example"}, "foreign-origin"),
    ]
    for headers, code in cases:
        for method, path, body in [("GET", "/jobs", None), ("POST", "/projects", project)]:
            answer = server.request(method, path, body, headers)
            assert answer.status in (400, 403, 421), (headers, method, answer.status)
            assert answer.json()["code"] == code
    form = b'{"key": "B", "name": "b"}'
    answer = server.request("POST", "/projects", form, {"Content-Type": "text/plain", "Neptune-Client": None})
    assert answer.status == 415, answer.body
    assert server.get("/projects") == []
