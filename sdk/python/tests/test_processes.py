"""Ends, forks, threads, broken surroundings: what was sent waits in the job's folder once, nothing raises.

Each test runs a real program of its own and then reads the folder that it left.
"""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from spool import Waiting, read_job

START = """
from deepsense import neptune
ctx = neptune.Context()
a = ctx.create_channel("a", neptune.ChannelType.NUMERIC)
"""


def only_job(folder: Path) -> Path:
    """The folder of the one job that a program left."""
    (job,) = (folder / "spool").iterdir()
    return job


def waiting(folder: Path) -> Waiting:
    """What the one job of a program left."""
    return read_job(only_job(folder))


def numbers(count: int, first: int = 0) -> list[tuple[float, float]]:
    """Points (i, i / 2)."""
    return [(float(i), i / 2) for i in range(first, first + count)]


def test_everything_is_there_after_a_plain_end(program: Any) -> None:
    program(
        START
        + """
t = ctx.create_channel("t", neptune.ChannelType.TEXT)
for i in range(10_000):
    a.send(i, i / 2)
    t.send(i, f"line {i}")
a.send_array([float(i) for i in range(10_000, 200_000)], [i / 2 for i in range(10_000, 200_000)])
ctx.create_chart("chart", {"a": a})
ctx.tags.append("tag")
ctx.properties["key"] = "value"
"""
    )
    found = waiting(program.folder)
    assert found.points["a"] == numbers(200_000)
    assert found.points["t"] == [(float(i), f"line {i}") for i in range(10_000)]
    assert found.dropped == 0
    text = json.dumps(found.requests)
    assert all(word in text for word in ('"chart"', '"tag"', '"key"', '"value"')), text


def test_values_are_kept_bit_for_bit(program: Any) -> None:
    program(
        START
        + """
import math
for y in (0.1, -0.0, math.inf, -math.inf, 5e-324, 1 / 3, 3, True):
    a.send(1, y)
a.send(math.nan)
"""
    )
    *points, last = waiting(program.folder).points["a"]
    assert str(points) == str(
        [(1.0, y) for y in (0.1, -0.0, float("inf"), float("-inf"), 5e-324, 1 / 3, 3.0, 1.0)]
    )
    assert str(last) == "(2.0, nan)"


def test_images_wait_with_their_files(program: Any) -> None:
    program(
        START
        + """
import numpy as np
images = ctx.create_channel("images", neptune.ChannelType.IMAGE)
for i in range(3):
    images.send(i, neptune.Image(f"name {i}", "größe", np.full((10, 20, 3), i, dtype=np.uint8)))
"""
    )
    points = waiting(program.folder).points["images"]
    assert [(x, image[:3]) for x, image in points] == [
        (float(i), (f"name {i}größe"[:6], 20, 10)) for i in range(3)
    ]
    files = {path.name: path.stat().st_size for path in only_job(program.folder).glob("sessions/*/blobs/*")}
    assert files == {image[4]: image[3] for _, image in points}


@pytest.mark.parametrize(
    ("end", "status"),
    [
        ("pass", 0),
        ("raise ValueError('mine')", 1),
        ("import sys; sys.exit(3)", 3),
        ("raise SystemExit(4)", 4),
        ("import sys; sys.exit('a message')", 1),
    ],
)
def test_how_the_program_ended_is_kept(program: Any, end: str, status: int) -> None:
    program(START + "for i in range(100): a.send(i, i / 2)\n" + end, status=status)
    assert waiting(program.folder).points["a"] == numbers(100)
    exit = json.loads((only_job(program.folder) / "exit.json").read_text())
    assert exit["how"] == {"kind": "code", "code": status}
    job = json.loads((only_job(program.folder) / "job.json").read_text())
    assert job["create"]["name"] == "program.py"
    assert job["create"]["project"] == "SANDBOX"
    assert job["create"]["command"][-1].endswith("program.py")
    facts = job["create"]["environment"]
    assert set(facts) == {"cpus", "folder", "interpreter", "neptune", "os", "python"}
    assert facts["interpreter"] == sys.executable


def test_what_is_no_unicode_is_written_out(program: Any) -> None:
    place = os.path.join(os.fsencode(program.folder), b"\xe9t\xe9")
    os.mkdir(place)
    path = os.path.join(place, b"\xff.py")
    code = """
import sys
from deepsense import neptune
ctx = neptune.Context(offline_parameters={sys.argv[1]: sys.argv[1]}, properties={sys.argv[1]: sys.argv[1]})
assert ctx.properties[sys.argv[1]] == ctx.properties["\\\\udcff"] == "\\\\udcff"
assert neptune.Image(sys.argv[1], sys.argv[1], b"\\x89PNG\\r\\n\\x1a\\n").name == "\\\\udcff"
try:
    ctx.tags.append(sys.argv[1])
except neptune.InvalidValueError:
    print("refused")
a = ctx.channel_send(sys.argv[1], 1, 0.5)
ctx.channel_send(sys.argv[1], 2, 1.5)
ctx.create_chart(sys.argv[1], {sys.argv[1]: sys.argv[1]})
"""
    with open(path, "w") as file:
        file.write(code)
    command = [os.fsencode(sys.executable), path, b"\xff"]
    # A spool of such a name too: what the job's child processes are told is the folder itself.
    environment = {**program.environment, "NEPTUNE_SPOOL_DIR": os.fsdecode(os.path.join(place, b"spool"))}
    done = subprocess.run(
        command, cwd=place, env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, "refused\n"), done.stderr
    (folder,) = os.scandir(os.path.join(place, b"spool"))
    with open(os.path.join(folder.path, b"job.json"), encoding="utf-8") as file:
        job = json.load(file)["create"]
    assert job["name"] == "\\udcff.py"
    assert job["command"][-1] == "\\udcff"
    assert job["environment"]["folder"].endswith("\\udce9t\\udce9")
    assert [(param["name"], param["value"]) for param in job["params"]] == [("\\udcff", "\\udcff")]
    assert dict(read_job(Path(os.fsdecode(folder.path))).points) == {"\\udcff": [(1.0, 0.5), (2.0, 1.5)]}


def test_what_no_server_takes_is_left_out_and_said(program: Any) -> None:
    ended = program(
        """
from deepsense import neptune
ctx = neptune.Context(offline_parameters={"long": "x" * 600_000, " ": 1, "half": "y" * 300_000})
neptune.Context(offline_parameters={"other half": "z" * 300_000, "lr": 0.1})
assert len(ctx.params.long) == 600_000
""",
        *["a" * 100_000] * 3,
    )
    job = json.loads((only_job(program.folder) / "job.json").read_text())["create"]
    assert [param["name"] for param in job["params"]] == ["half", "lr"]
    assert len(job["command"]) == 2
    for what in ('"long" is too long', '" ": must be', '"other half" is too long', "2 of 5 arguments"):
        assert what in ended.err, ended.err


def test_a_python_inside_another_program_has_no_interpreter(program: Any) -> None:
    program("import sys\nsys.executable = None\ndel sys.orig_argv\n" + START)
    job = json.loads((only_job(program.folder) / "job.json").read_text())["create"]
    assert job["command"][0] == "python"
    assert "interpreter" not in job["environment"]


def test_a_program_that_was_started_by_a_runner_is_not_described(program: Any) -> None:
    program(
        "import os\ndel os.uname\n" + START + "print(ctx.experiment_id)",
        NEPTUNE_ONLINE_CONTEXT="yes",
        NEPTUNE_JOB_ID="TRIG-1",
        NEPTUNE_SPOOL_DIR=str(program.folder / "spool" / ("01" * 16)),
    )


def test_an_interrupted_program_is_an_aborted_job(program: Any) -> None:
    program(START + "a.send(0, 0)\nimport os, signal\nos.kill(os.getpid(), signal.SIGINT)\n", status=-2)
    assert waiting(program.folder).points["a"] == numbers(1)
    exit = json.loads((only_job(program.folder) / "exit.json").read_text())
    assert (exit["how"], exit["aborted"]) == ({"kind": "signal", "signal": 2}, True)


def test_offline_parameters_are_kept(program: Any) -> None:
    program(
        """
from deepsense import neptune
neptune.Context(offline_parameters={"lr": 0.1, "epochs": 3, "shuffle": True, "name": "x", "sizes": [1, 2]})
ctx = neptune.Context(offline_parameters={"epochs": 4})
assert ctx.params.amplitude == 5
""",
        *["--amplitude", "5"],
    )
    job = json.loads((only_job(program.folder) / "job.json").read_text())
    params = {param["name"]: (param["type"], param["value"]) for param in job["create"]["params"]}
    assert params == {
        "lr": ("double", 0.1),
        "epochs": ("integer", 4),
        "shuffle": ("boolean", True),
        "name": ("string", "x"),
        "sizes": ("string", "[1, 2]"),
        "amplitude": ("integer", 5),
    }


def test_what_is_sent_by_a_later_exit_handler_is_there(program: Any) -> None:
    program("import atexit\n" + START + "atexit.register(lambda: a.send(0, 0))\n")
    assert waiting(program.folder).points["a"] == numbers(1)


def test_a_program_that_kills_itself_loses_only_the_last_moment(program: Any) -> None:
    program(
        START
        + """
import os, signal, pathlib, time
for i in range(1000): a.send(i, i / 2)
deadline = time.monotonic() + 30
while not list(pathlib.Path(os.environ["NEPTUNE_SPOOL_DIR"]).glob("*/sessions/*/frames-*.log")):
    assert time.monotonic() < deadline
    time.sleep(0.01)
os.kill(os.getpid(), signal.SIGKILL)
""",
        status=-9,
    )
    assert waiting(program.folder).points["a"] == numbers(1000)
    assert not (only_job(program.folder) / "exit.json").exists()


def test_threads_share_channels(program: Any) -> None:
    program(
        START
        + """
import threading
def work(k):
    for i in range(5000):
        a.send(i, k)
        ctx.channel_send(f"thread {k}", i, i / 2)
threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""
    )
    found = waiting(program.folder)
    for k in range(8):
        assert found.points[f"thread {k}"] == numbers(5000)
        assert [x for x, y in found.points["a"] if y == k] == [float(i) for i in range(5000)]


def test_a_forked_child_writes_into_the_same_job(program: Any) -> None:
    program(
        START
        + """
import os, sys
for i in range(100): a.send(i, i / 2)
child = os.fork()
if child == 0:
    for i in range(100, 200): a.send(i, i / 2)
    neptune.Context().channel_send("child", 0, 0)
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
for i in range(200, 300): a.send(i, i / 2)
"""
    )
    found = waiting(program.folder)
    assert sorted(found.points["a"]) == numbers(300)
    assert found.points["child"] == numbers(1)
    assert found.sessions == 2


def test_a_forked_child_that_sends_nothing_starts_nothing(program: Any) -> None:
    program(
        START
        + """
import os, sys
a.send(0, 0)
child = os.fork()
if child == 0:
    ctx.job._core.flush(10.0)
    sys.exit(len(os.listdir("/proc/self/task")))
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
"""
    )


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_children_of_multiprocessing_write_into_the_same_job(program: Any, method: str) -> None:
    ended = program(
        """
import multiprocessing
from deepsense import neptune

def work(channel, k):
    for i in range(1000):
        channel.send(i, k)
        neptune.Context().channel_send(f"child {k}", i, i / 2)

if __name__ == "__main__":
    ctx = neptune.Context()
    a = ctx.create_channel("a", neptune.ChannelType.NUMERIC)
    start = multiprocessing.get_context("METHOD")
    children = [start.Process(target=work, args=(a, k)) for k in range(3)]
    for child in children: child.start()
    for child in children: child.join()
    assert [child.exitcode for child in children] == [0, 0, 0]
    with start.Pool(2) as pool:
        pool.starmap(work, [(a, 3), (a, 4)])
        pool.close()
        pool.join()
    a.send(0, 9)
""".replace("METHOD", method)
    )
    found = waiting(program.folder)
    for k in range(5):
        assert found.points[f"child {k}"] == numbers(1000)
        assert [x for x, y in found.points["a"] if y == k] == [float(i) for i in range(1000)]
    assert (0.0, 9.0) in found.points["a"]
    assert ended.err.count("offline") == 1, ended.err


def test_a_program_that_the_program_starts_writes_into_the_same_job(program: Any) -> None:
    (program.folder / "other.py").write_text(START + "for i in range(100): a.send(i, i / 2)\n")
    program(
        START
        + "import subprocess, sys\nsubprocess.run([sys.executable, 'other.py'], check=True)\na.send(7, 7)\n"
    )
    assert sorted(waiting(program.folder).points["a"]) == sorted([*numbers(100), (7.0, 7.0)])


def test_interactive_use_ends_well(program: Any) -> None:
    code = START + "a.send(0, 0)\nassert not hasattr(ctx.params, 'f')\n"
    environment = {**program.environment, "PYTHONWARNINGS": "error"}
    done = subprocess.run(
        [sys.executable, "-", "-f", "kernel.json", "--f=kernel.json"],
        input=code,
        cwd=program.folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert waiting(program.folder).points["a"] == numbers(1)


def test_a_log_that_cannot_be_written_is_said_and_that_is_all(program: Any) -> None:
    (program.folder / "offline_job.log").mkdir()
    ended = program(START + "a.send(0, 0)\n")
    assert "offline_job.log is not written" in ended.err
    assert waiting(program.folder).points["a"] == numbers(1)


def test_a_deleted_folder_is_no_reason_to_fail(program: Any) -> None:
    start = "import os\nos.mkdir('gone')\nos.chdir('gone')\nos.rmdir('../gone')\n"
    ended = program(start + START + "a.send(0, 0)\n")
    assert "offline_job.log is not written" in ended.err
    assert waiting(program.folder).points["a"] == numbers(1)


def test_a_spool_that_cannot_be_written_is_replaced(program: Any) -> None:
    (program.folder / "file").write_text("")
    bad = str(program.folder / "file" / "spool")
    ended = program(START + "a.send(0, 0)\n", NEPTUNE_SPOOL_DIR=bad, TMPDIR=str(program.folder))
    assert f"{bad} cannot be written" in ended.err
    last = program.folder / f"neptune-spool-{os.geteuid()}"
    (job,) = last.iterdir()
    assert str(job) in ended.err
    assert f"`neptune sync --spool {last}`" in ended.err
    assert stat.S_IMODE(last.stat().st_mode) == 0o700
    assert read_job(job).points["a"] == numbers(1)


@pytest.mark.parametrize("trap", ["open", "link"])
def test_a_folder_that_others_may_have_made_is_not_used(program: Any, trap: str) -> None:
    (program.folder / "file").write_text("")
    last = program.folder / f"neptune-spool-{os.geteuid()}"
    if trap == "open":
        last.mkdir()
        last.chmod(0o777)
    else:
        (program.folder / "elsewhere").mkdir(0o700)
        last.symlink_to(program.folder / "elsewhere")
    bad = str(program.folder / "file" / "spool")
    ended = program(START + "a.send(0, 0)\n", NEPTUNE_SPOOL_DIR=bad, TMPDIR=str(program.folder))
    assert "not this user's alone" in ended.err
    assert list(last.iterdir()) == []


def test_without_any_disk_the_program_still_runs(program: Any) -> None:
    (program.folder / "file").write_text("")
    bad = str(program.folder / "file" / "spool")
    # 5 million points of noise do not fit into the memory that is set aside for them.
    code = (
        START
        + """
import array, os
noise = array.array("d")
noise.frombytes(os.urandom(8_000_000))
for _ in range(5): a.send_array(noise, noise)
for i in range(1000): a.send(i, i / 2)
ctx.channel_send("text", "fits nowhere")
print("fine")
"""
    )
    ended = program(code, NEPTUNE_SPOOL_DIR=bad, TMPDIR=bad)
    assert ended.out == "fine\n"
    assert "what is sent is lost" in ended.err
    assert ended.err.count("points are being dropped") == 1, ended.err


def test_a_broken_runner_environment_is_named_and_the_program_works_offline(program: Any) -> None:
    ended = program(START + "a.send(0, 0)\nassert ctx.experiment_id is None\n", NEPTUNE_ONLINE_CONTEXT="yes")
    assert "offline: NEPTUNE_JOB_ID is not set" in ended.err


def job_file(folder: Path) -> Path:
    """What a runner writes for the program."""
    path = folder / "job.json"
    param = {"required": True}
    job = {
        "url": "http://127.0.0.1:1",
        "create": {
            "uid": "01" * 16,
            "project": "TRIG",
            "name": "a job",
            "params": [
                {**param, "name": "amplitude", "type": "double", "value": 5.0},
                {**param, "name": "epochs", "type": "integer", "value": 3},
                {**param, "name": "shuffle", "type": "boolean", "value": True},
                {**param, "name": "optimizer", "type": "string", "value": "adam"},
            ],
            "tags": ["one", "two"],
            "properties": {"key": "value"},
            "metric": {"channel": "a", "direction": "minimize"},
        },
        "claim": "02" * 16,
        "registered": {"id": "TRIG-12", "attempt": 1, "token": "secret"},
    }
    path.write_text(json.dumps(job))
    return path


def test_started_by_a_runner_the_context_knows_its_job_without_asking_the_network(program: Any) -> None:
    with socket.socket() as listener:
        # A server that accepts connections and says nothing.
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        ended = program(
            START
            + """
assert ctx.params.__class__.__name__ == "ContextParams"
assert dict(ctx.params) == {"amplitude": 5.0, "epochs": 3, "shuffle": True, "optimizer": "adam"}
assert [type(value) for value in ctx.params.values()] == [float, int, bool, str]
assert ctx.experiment_id == ctx.job.id == "TRIG-12"
assert ctx.tags == ["one", "two"] and ctx.properties == {"key": "value"}
assert ctx.metric.channel_name == "a" and ctx.metric.direction == "minimize"
assert ctx.storage_url == "/the/copy"
ctx = neptune.Context(tags=["no"], properties={"no": 1}, offline_parameters={"amplitude": 6})
assert ctx.params.amplitude == 5.0 and "no" not in ctx.tags and "no" not in ctx.properties
for i in range(100): a.send(i, i / 2)
""",
            NEPTUNE_ONLINE_CONTEXT="yes",
            NEPTUNE_URL=f"http://127.0.0.1:{listener.getsockname()[1]}",
            NEPTUNE_JOB_ID="TRIG-12",
            NEPTUNE_ATTEMPT="1",
            NEPTUNE_TOKEN="secret",
            NEPTUNE_SPOOL_DIR=str(program.folder / "spool" / "job"),
            NEPTUNE_JOB_FILE=str(job_file(program.folder)),
            NEPTUNE_STORAGE_URL="/the/copy",
        )
    assert "not started by" not in ended.err
    assert not (program.folder / "offline_job.log").exists()
    assert waiting(program.folder).points["a"] == numbers(100)


def test_a_server_that_is_not_there_is_said_once_and_everything_waits(program: Any) -> None:
    ended = program(
        START + "for i in range(100): a.send(i, i / 2)\n",
        NEPTUNE_ONLINE_CONTEXT="yes",
        NEPTUNE_URL="http://127.0.0.1:1",
        NEPTUNE_JOB_ID="TRIG-12",
        NEPTUNE_TOKEN="secret",
        NEPTUNE_SPOOL_DIR=str(program.folder / "spool" / "job"),
    )
    assert ended.err.count("cannot be reached") == 1, ended.err
    assert waiting(program.folder).points["a"] == numbers(100)


def test_standard_error_may_be_closed(program: Any) -> None:
    path = program.folder / "program.py"
    path.write_text(START + "a.send(0, 0)\n")
    command = f"exec {sys.executable} {path} 2>&-"
    done = subprocess.run(
        ["sh", "-c", command], cwd=program.folder, env=program.environment, timeout=60, check=False
    )
    assert done.returncode == 0
    assert waiting(program.folder).points["a"] == numbers(1)
    assert os.listdir(only_job(program.folder))
