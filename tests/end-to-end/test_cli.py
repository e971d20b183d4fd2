"""The verbs of the `neptune` command against a real server."""

from __future__ import annotations

import json
import pathlib
import signal
import stat
import subprocess
import sys

from conftest import Cli, Server, wait_until

TALKS = """
import sys, time
for i in range(40):
    print("out", i, flush=True)
    print("err", i, file=sys.stderr, flush=True)
    time.sleep(0.05)
print("no end of line", end="")
"""


def finished_job(server: Server, cli: Cli, folder: pathlib.Path, *arguments: str) -> str:
    """Runs the program of a folder and answers the job's id."""
    before = {job["id"] for job in server.jobs()}
    run = cli.run("run", *arguments, cwd=folder)
    assert run.returncode == 0, run.stderr
    (job,) = {job["id"] for job in server.jobs()} - before
    assert f"{server.url}/jobs/{job}" in run.stderr, "the job's page is told"
    return job


def sources(folder: pathlib.Path, **files: str) -> pathlib.Path:
    folder.mkdir()
    for name, content in files.items():
        (folder / name.replace("_", ".")).write_text(content)
    return folder


def test_logs_are_what_was_printed(server: Server, cli: Cli, tmp_path: pathlib.Path) -> None:
    folder = sources(tmp_path / "job", main_py=TALKS)
    job = finished_job(server, cli, folder)
    out = [f"out {i}" for i in range(40)] + ["no end of line"]
    err = [f"err {i}" for i in range(40)]
    logs = cli.run("logs", job)
    assert (logs.stdout.splitlines(), logs.stderr.splitlines()) == (out, err)
    assert cli.run("logs", job, "--stderr").stdout.splitlines() == err
    assert cli.run("logs", job, "-n", "3", "--stdout").stdout.splitlines() == out[-3:]
    assert cli.run("logs", job, "--stdout", "--search", "OUT 3").stdout.splitlines() == ["out 3"] + out[30:40]
    lines = [json.loads(line) for line in cli.run("logs", job, "--json", "--stdout").stdout.splitlines()]
    assert [line["text"] for line in lines] == out
    # One follows a job that has ended to its end.
    assert cli.run("logs", "-f", job, "--stdout").stdout.splitlines() == out
    assert cli.run("logs", job, "nope").returncode == 2


def test_following_sees_every_line_once_over_a_killed_server(
    server: Server, cli: Cli, tmp_path: pathlib.Path
) -> None:
    folder = sources(tmp_path / "job", main_py=TALKS.replace("range(40)", "range(120)"))
    program = cli.start("run", cwd=folder)
    job = wait_until("the job is registered", server.jobs)[0]["id"]
    follower = cli.start("logs", "-f", job, "--stdout")
    wait_until("lines are there", lambda: "sys/stdout" in server.channels(job))
    wait_until("more lines are there", lambda: len(server.lines(job, "sys/stdout")) > 20)
    server.kill()
    server.start()
    program.communicate(timeout=60)
    out, err = follower.communicate(timeout=60)
    assert follower.returncode == 0, err
    assert out.splitlines() == [f"out {i}" for i in range(120)] + ["no end of line"]


def test_a_checkout_is_the_folder_that_ran(server: Server, cli: Cli, tmp_path: pathlib.Path) -> None:
    folder = sources(tmp_path / "job", main_py="print(1)\n", _neptuneignore="data\n")
    (folder / "lib").mkdir()
    (folder / "lib" / "run.sh").write_bytes(b"#!/bin/sh\n\xff\x00")
    (folder / "lib" / "run.sh").chmod(0o755)
    (folder / "link").symlink_to("lib/run.sh")
    (folder / "data").write_text("not a source")
    job = finished_job(server, cli, folder)
    checkout = cli.run("checkout", job, "copy")
    assert checkout.returncode == 0, checkout.stderr
    copy = tmp_path / "copy"
    found = sorted(str(path.relative_to(copy)) for path in copy.rglob("*") if not path.is_dir())
    assert found == [".neptuneignore", "lib/run.sh", "link", "main.py"]
    assert (copy / "lib" / "run.sh").read_bytes() == b"#!/bin/sh\n\xff\x00"
    assert (copy / "lib" / "run.sh").stat().st_mode & stat.S_IXUSR
    assert (copy / "link").readlink() == pathlib.Path("lib/run.sh")
    again = cli.run("checkout", job, "copy")
    assert again.returncode == 1 and "not empty" in again.stderr


def test_a_diff_names_parameters_and_sources(server: Server, cli: Cli, tmp_path: pathlib.Path) -> None:
    folder = sources(tmp_path / "job", main_py="x = 1\nprint(x)\n")
    old = finished_job(server, cli, folder, "-p", "lr:0.1", "-p", "seed:7")
    (folder / "main.py").write_text("x = 2\nprint(x)\n")
    new = finished_job(server, cli, folder, "-p", "lr:0.2", "-p", "seed:7")
    diff = cli.run("diff", old, new)
    assert "lr\t0.1\t0.2" in diff.stdout and "seed" not in diff.stdout
    assert "-x = 1" in diff.stdout and "+x = 2" in diff.stdout
    same = cli.run("diff", old, old)
    assert same.stdout == "" and "same parameters and sources" in same.stderr
    found = json.loads(cli.run("diff", old, new, "--json").stdout)
    assert found["params"] == [{"name": "lr", "job": "0.1", "other": "0.2"}]


def test_equal_sources_travel_once_and_a_file_that_changes_is_no_fault(
    server: Server, cli: Cli, tmp_path: pathlib.Path
) -> None:
    folder = sources(tmp_path / "job", main_py="print(1)\n", log_txt="")
    writer = start_appending(folder / "log.txt")
    try:
        jobs = [finished_job(server, cli, folder) for _ in range(2)]
    finally:
        writer.send_signal(signal.SIGKILL)
        writer.wait()
    for job in jobs:
        snapshot = server.get(f"/jobs/{job}/snapshot")
        assert snapshot["files"] == 2


def start_appending(path: pathlib.Path) -> subprocess.Popen[bytes]:
    """A program that appends to a file all the time, for at most a minute."""
    script = (
        "import sys, time\nend = time.monotonic() + 60\n"
        "while time.monotonic() < end:\n    open(sys.argv[1], 'a').write('x' * 100)\n    time.sleep(0.0005)\n"
    )
    return subprocess.Popen([sys.executable, "-c", script, str(path)])


def test_metadata_is_changed_and_shown(server: Server, cli: Cli, tmp_path: pathlib.Path) -> None:
    folder = sources(tmp_path / "job", main_py="print('loss: 0.5')\n")
    job = finished_job(
        server,
        cli,
        folder,
        "--project",
        "Handwritten digits",
        "--tag",
        "first",
        "-l",
        "loss:",
        "-p",
        "lr:0.1",
    )
    assert job == "HANDWRIT-1"
    assert cli.run("tag", job, "good", "best", "-r", "first").stdout.split() == ["best", "good"]
    changed = cli.run("set", job, "data=v1", "note:a=b", "--name", "a new name\x1b[31m")
    assert changed.stdout.splitlines() == ["data=v1", "note=a=b"]
    assert cli.run("set", job, "--unset", "data").stdout.splitlines() == ["note=a=b"]
    shown = cli.run("show", job).stdout
    for part in [
        "a new name",
        "lr\t0.1\tdouble",
        "note\ta=b",
        "loss\tnumeric\t1",
        "succeeded",
        f"/jobs/{job}",
    ]:
        assert part in shown, (part, shown)
    assert "\x1b" not in shown, "a name cannot steer the terminal"
    found = json.loads(cli.run("show", job, "--json").stdout)
    assert found["job"]["name"] == "a new name\x1b[31m"
    assert [project.split("\t")[:3] for project in cli.run("project").stdout.splitlines()[1:]] == [
        ["HANDWRIT", "Handwritten digits", "1"]
    ]
    # The same name is the same project; another name with the same letters is another one.
    assert finished_job(server, cli, folder, "--project", "Handwritten digits") == "HANDWRIT-2"
    assert finished_job(server, cli, folder, "--project", "Handwritten letters") == "HANDWRIT2-1"
    assert finished_job(server, cli, folder, "--project", "HANDWRIT") == "HANDWRIT-3"


def test_ls_filters_and_pages(server: Server, cli: Cli, tmp_path: pathlib.Path) -> None:
    server.request("POST", "/projects", {"key": "A", "name": "a"})
    for number in range(60):
        job = {"project": "A", "name": f"job n{number}n", "tags": ["even" if number % 2 == 0 else "odd"]}
        assert server.request("POST", "/jobs", job).status in (200, 201)
    first = cli.run("ls")
    assert len(first.stdout.splitlines()) == 51 and "50 of 60 jobs" in first.stderr
    assert len(json.loads(cli.run("ls", "--all", "--json").stdout)) == 60
    assert len(json.loads(cli.run("ls", "--tag", "even", "--json").stdout)) == 30
    assert [job["name"] for job in json.loads(cli.run("ls", "job", "N59N", "--json").stdout)] == ["job n59n"]
    assert [job["id"] for job in json.loads(cli.run("ls", "--sort", "id", "-n", "2", "--json").stdout)] == [
        "A-1",
        "A-2",
    ]
    # Whoever reads the output with a program is told, too, that it is not all.
    cut = cli.run("ls", "--json")
    assert len(json.loads(cut.stdout)) == 50 and "50 of 60 jobs" in cut.stderr
    assert "of 60" not in cli.run("ls", "--all", "--json").stderr
    assert cli.run("ls", "--state", "running").stdout == ""
    assert cli.run("ls", "--state", "flying").returncode == 2
    abort = cli.run("abort", "A-1", "A-99", "A-2", "--reason", "tidy")
    assert abort.returncode == 1 and "A-1 aborted" in abort.stderr and "A-2 aborted" in abort.stderr, (
        abort.stderr
    )


def test_ls_shows_columns_and_groups(server: Server, cli: Cli) -> None:
    server.request("POST", "/projects", {"key": "A", "name": "a"})
    for number in range(6):
        lr = [{"name": "lr", "type": "double", "value": 0.1 if number % 2 else 0.01}]
        job = {"project": "A", "name": f"n{number}", "params": lr, "tags": ["a", "b"] if number < 2 else []}
        assert server.request("POST", "/jobs", job).status in (200, 201)
        points = {"loss": [[1, "NaN" if number == 5 else number / 4]]}
        answer = server.request(
            "POST", f"/jobs/A-{number + 1}/points", points, {"Idempotency-Key": f"k{number}"}
        )
        assert answer.status == 200, answer.body
    found = cli.run(
        "ls", "--filter", "metric.loss < 1 and param.lr = 0.1", "--sort", "-metric.loss", "--json"
    )
    assert [job["name"] for job in json.loads(found.stdout)] == ["n3", "n1"], found.stderr
    rows = cli.run("ls", "--sort", "-metric.loss", "--columns", "name,metric.loss,param.lr,tag", "-n", "2")
    assert [line.split() for line in rows.stdout.splitlines()] == [
        ["id", "name", "metric.loss.last", "param.lr", "tag"],
        ["A-5", "n4", "1.0", "0.01"],
        ["A-4", "n3", "0.75", "0.1"],
    ]
    assert "2 of 6 jobs" in rows.stderr
    cut = cli.run("ls", "--columns", "metric.loss", "--filter", "metric.loss is nan or name = n0", "--json")
    assert [row["values"] for row in json.loads(cut.stdout)] == [["NaN"], [0.0]]
    groups = ["ls", "--group", "tag,param.lr", "--columns", "metric.loss", "--sort", "-jobs"]
    shown = cli.run(*groups)
    assert [line.split() for line in shown.stdout.splitlines()[1:]] == [
        ["0.01", "2", "2", "0.5", "0.75", "1.0"],
        ["0.1", "2", "2", "0.75", "0.75", "0.75"],
        ["a", "0.01", "1", "1", "0.0", "0.0", "0.0"],
        ["a", "0.1", "1", "1", "0.25", "0.25", "0.25"],
        ["b", "0.01", "1", "1", "0.0", "0.0", "0.0"],
        ["b", "0.1", "1", "1", "0.25", "0.25", "0.25"],
    ]
    cut = cli.run(*groups, "-n", "4", "--json")
    assert len(json.loads(cut.stdout)) == 4 and "4 of 6 groups" in cut.stderr
    for group in json.loads(cut.stdout):
        jobs = json.loads(cli.run("ls", "--filter", group["filter"], "--json").stdout)
        assert len(jobs) == group["jobs"], group["filter"]
    twice = cli.run("ls", "--group", "tag,tag")
    assert twice.returncode == 1 and "tag is named twice" in twice.stderr, twice.stderr
    wrong = cli.run("ls", "--filter", "metric.loss < abc")
    assert wrong.returncode == 1 and "expected a number" in wrong.stderr, wrong.stderr


def test_an_interrupted_start_leaves_no_job_that_waits(
    server: Server, cli: Cli, tmp_path: pathlib.Path
) -> None:
    folder = sources(tmp_path / "job", main_py="print('ran')\n")
    # Large enough that its way to the server takes a moment.
    for number in range(20):
        (folder / f"{number}.bin").write_bytes(bytes([number]) * (10 << 20))
    program = cli.start("run", cwd=folder)
    blobs = server.folder / "data" / "blobs"
    wait_until("sources arrive", lambda: any(path.is_file() for path in blobs.rglob("*")))
    program.send_signal(signal.SIGINT)
    out, err = program.communicate(timeout=30)
    if program.returncode == 0:
        assert out == "ran\n", "it was faster than the signal"
        return
    assert program.returncode == 130, err
    assert "ran" not in out
    assert all(job["state"] != "created" for job in server.jobs())
