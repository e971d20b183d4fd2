"""The end of jobs, backups and exports, with real programs: what is deleted, what comes back, what is freed."""

from __future__ import annotations

import json
import pathlib
import shutil
import subprocess
import urllib.request
from typing import Any

import pytest
from answers import all_answers, all_jobs, as_bits
from conftest import ROOT, Cli, Server, wait_until

FIXTURE = ROOT / "tests" / "fixtures" / "db" / "v1"


@pytest.fixture
def filled(tmp_path: pathlib.Path) -> Any:
    """A server over a copy of the fixture: jobs of all kinds, which no test changes."""
    folder = tmp_path / "filled"
    shutil.copytree(FIXTURE / "data", folder / "data")
    server = Server(folder).start()
    yield server
    if server.process and server.process.poll() is None:
        server.stop()


def neptune_server(*arguments: str | pathlib.Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["neptune-server", *map(str, arguments)], capture_output=True, text=True, timeout=120
    )


def blob_files(server: Server) -> int:
    return sum(path.is_file() for path in (server.folder / "data" / "blobs").rglob("*"))


def job_of(server: Server, name: str) -> str:
    (job,) = [job["id"] for job in all_jobs(server) if job["name"] == name]
    return str(job)


def test_a_deleted_job_is_hidden_and_comes_back_whole(filled: Server, tmp_path: pathlib.Path) -> None:
    cli = Cli(tmp_path, filled.url)
    before = all_answers(filled)
    job = job_of(filled, "a whole job")
    deleted = cli.run("delete", job, "--reason", "tidying", "--json")
    assert deleted.returncode == 0 and f"`neptune restore {job}` brings it back" in deleted.stderr
    (receipt,) = json.loads(deleted.stdout)
    assert receipt["channels"] == 10 and receipt["freed_bytes"] == 0 and receipt["removed"]["records"] == 0
    assert job not in [found["id"] for found in all_jobs(filled)]
    assert [found["id"] for found in all_jobs(filled, "&deleted=true")] == [job]
    assert job in cli.run("ls", "--deleted").stdout and job not in cli.run("ls").stdout
    assert "tidying" in cli.run("show", job).stdout
    refused = filled.request("PATCH", f"/jobs/{job}", {"name": "x"})
    assert (refused.status, refused.json()["code"]) == (410, "job-deleted"), refused.body
    points = filled.request("POST", f"/jobs/{job}/points", {"a": [[1, 2]]}, {"Idempotency-Key": "k"})
    assert (points.status, points.json()["code"]) == (410, "job-deleted"), points.body
    filled.kill()
    filled.start()
    assert [found["id"] for found in all_jobs(filled, "&deleted=true")] == [job]
    restored = Cli(tmp_path, filled.url).run("restore", job)
    assert restored.returncode == 0, restored.stderr
    assert all_answers(filled) == before


def test_a_job_removed_for_good_frees_what_only_it_needed(filled: Server, tmp_path: pathlib.Path) -> None:
    cli = Cli(tmp_path, filled.url)
    job, other, runs = (job_of(filled, name) for name in ["a whole job", "sources", "runs"])
    running = cli.run("delete", runs, "--now")
    assert running.returncode == 1 and "abort it" in running.stderr
    # While it may live, what a server before this one told it of would be left to the collector.
    exit = {"how": {"kind": "code", "code": 0}, "ended_micros": 1}
    assert filled.request("PUT", f"/attempts/{runs}/1/exit", exit).status < 300
    before = all_answers(filled)
    files = blob_files(filled)
    deleted = cli.run("delete", job, "--now", "--json")
    assert deleted.returncode == 0, deleted.stderr
    (receipt,) = json.loads(deleted.stdout)
    # Its pictures went; its sources are those of the other job, too.
    assert receipt["removed"]["blobs"] == files - blob_files(filled) > 0
    assert receipt["kept"][0]["why"] == "other_job" and receipt["kept"][0]["blobs"] == 4
    # What it sent, compressed: the server sealed it when it started.
    assert receipt["freed_bytes"] > 5_000
    gone = filled.request("GET", f"/jobs/{job}")
    assert (gone.status, gone.json()["code"]) == (410, "job-deleted"), gone.body
    after = all_answers(filled)
    assert after["jobs"] == {id: found for id, found in before["jobs"].items() if id != job}
    # The last that names the sources takes them along.
    (receipt,) = json.loads(cli.run("delete", other, "--now", "--json").stdout)
    assert receipt["removed"]["blobs"] == 5 and "kept" not in receipt
    assert blob_files(filled) == 0
    metrics = urllib.request.urlopen(f"{filled.url}/metrics", timeout=30).read().decode()
    assert "neptune_removed_jobs_total 2" in metrics, metrics
    filled.stop()
    checked = neptune_server("check", "--data", filled.folder / "data")
    assert checked.returncode == 0 and "all as written" in checked.stdout, checked.stdout


def test_rules_of_retention_are_tried_then_set(filled: Server, tmp_path: pathlib.Path) -> None:
    cli = Cli(tmp_path, filled.url)
    rule = ["project", "retention", "FIXTURE", "--state", "failed", "--state", "created", "--keep-last", "1"]
    tried = cli.run(*rule, "--keep-tag", "best", "--dry-run", "--json")
    assert tried.returncode == 0, tried.stderr
    doomed = json.loads(tried.stdout)["jobs"]
    assert [found["name"] for found in doomed] == ["sources", "only created"]
    assert doomed[0]["reason"].startswith("retention: failed or created jobs, beyond the newest 1")
    assert "no rules" in cli.run("project", "retention", "FIXTURE").stderr
    assert (
        cli.run("project", "retention", "FIXTURE", "--state", "running", "--keep-last", "1").returncode == 1
    )
    assert cli.run(*rule).returncode == 0
    assert "failed,created" in cli.run("project", "retention", "FIXTURE").stdout
    # A start looks at the rules at once.
    filled.kill()
    filled.start()
    deleted = wait_until("the rule is applied", lambda: all_jobs(filled, "&deleted=true"))
    wait_until("both are deleted", lambda: len(all_jobs(filled, "&deleted=true")) == 2)
    assert deleted[0]["deleted"]["reason"].startswith("retention: failed or created jobs")


def test_the_collector_frees_what_no_job_names(tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "server"
    shutil.copytree(FIXTURE / "data", folder / "data")
    server = Server(folder)
    server.environment["NEPTUNE_SERVER_GRACE_DAYS"] = "0"
    server.start()
    before, files = all_answers(server), blob_files(server)
    orphan = folder / "data" / "blobs" / "ab" / "cd"
    orphan.mkdir(parents=True)
    (orphan / ("abcd" + "0" * 60)).write_bytes(b"no record stands for it")
    (orphan / ("abcd" + "1" * 60 + "#3")).write_bytes(b"broken off")
    first = server.request("POST", "/collector").json()
    assert first == {"marked": 0, "forgotten": 0, "removed_files": 2, "freed_bytes": 33}, first
    assert blob_files(server) == files and all_answers(server) == before
    server.stop()


def test_a_backup_of_a_running_server_is_restored_whole(filled: Server, tmp_path: pathlib.Path) -> None:
    data, to = filled.folder / "data", tmp_path / "backup"
    before = all_answers(filled)
    first = neptune_server("backup", "--data", data, "--to", to)
    assert first.returncode == 0, first.stderr
    # What comes after the backup is not in it, and a second one copies what is new alone.
    made = filled.request("POST", "/jobs", {"project": "FIXTURE", "name": "after the backup"})
    assert made.status == 201
    inside = neptune_server("backup", "--data", data, "--to", data / "backup")
    assert inside.returncode == 1 and "lies in the data folder" in inside.stderr
    restored = tmp_path / "restored" / "data"
    outcome = neptune_server("restore", "--from", to, "--data", restored)
    assert outcome.returncode == 0, outcome.stderr
    checked = neptune_server("check", "--data", restored)
    assert checked.returncode == 0 and "all as written" in checked.stdout, checked.stdout
    again = neptune_server("restore", "--from", to, "--data", restored)
    assert again.returncode == 1 and "not empty" in again.stderr
    other = Server(tmp_path / "restored").start()
    assert all_answers(other) == before
    other.stop()
    second = neptune_server("backup", "--data", data, "--to", to)
    files, new = int(second.stdout.split()[0]), int(second.stdout.split(" bytes, ")[1].split()[0])
    assert new < files / 2, second.stdout
    # A stopped server's folder is opened by the program itself.
    last = all_answers(filled)
    filled.stop()
    third = neptune_server("backup", "--data", data, "--to", tmp_path / "cold")
    assert third.returncode == 0, third.stderr
    warm = tmp_path / "warm"
    outcome = neptune_server("restore", "--from", tmp_path / "cold", "--data", warm / "data")
    assert outcome.returncode == 0, outcome.stderr
    other = Server(warm).start()
    assert all_answers(other) == last
    other.stop()


def test_a_backup_that_is_cut_off_or_damaged_is_refused(filled: Server, tmp_path: pathlib.Path) -> None:
    to = tmp_path / "backup"
    assert neptune_server("backup", "--data", filled.folder / "data", "--to", to).returncode == 0
    biggest = max((to / "files").rglob("*"), key=lambda path: path.stat().st_size if path.is_file() else 0)
    whole = biggest.read_bytes()
    # Not in place: it may be shared with the data. As long as it was.
    biggest.unlink()
    biggest.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    damaged = neptune_server("restore", "--from", to, "--data", tmp_path / "new")
    assert damaged.returncode == 1 and "is damaged" in damaged.stderr, damaged.stderr
    assert not (tmp_path / "new").exists()
    # The next backup mends it.
    assert neptune_server("backup", "--data", filled.folder / "data", "--to", to).returncode == 0
    assert neptune_server("restore", "--from", to, "--data", tmp_path / "mended").returncode == 0
    (to / "backup.json").unlink()
    cut = neptune_server("restore", "--from", to, "--data", tmp_path / "new")
    assert cut.returncode == 1 and "cut off" in cut.stderr, cut.stderr
    none = neptune_server("restore", "--from", tmp_path, "--data", tmp_path / "new")
    assert none.returncode == 1 and "no backup" in none.stderr, none.stderr


def test_an_export_is_imported_with_every_bit(filled: Server, tmp_path: pathlib.Path) -> None:
    cli = Cli(tmp_path, filled.url)
    exported = cli.run("export", "FIXTURE", "--to", "parcel")
    assert exported.returncode == 0, exported.stderr
    assert cli.run("export", "FIXTURE", "--to", "parcel").returncode == 2, (
        "a folder that is not empty is refused"
    )
    wanted = all_answers(filled)
    wanted["projects"] = [project for project in wanted["projects"] if project["key"] == "FIXTURE"]
    running = job_of(filled, "runs")
    wanted["jobs"][running]["job"].update(state="lost", reason="ran when it was exported")
    (tmp_path / "other").mkdir()
    other = Server(tmp_path / "other").start()
    try:
        there = Cli(tmp_path, other.url)
        imported = there.run("import", "parcel", "--json")
        assert imported.returncode == 0, imported.stderr
        first = json.loads(imported.stdout)
        assert first["jobs"] == 6 and first["points"] > 5000 and first["here"] == []
        assert all_answers(other) == wanted
        # Again: nothing comes twice.
        again = json.loads(there.run("import", "parcel", "--json").stdout)
        assert again == {"jobs": 6, "points": 0, "here": [], "failed": []}
        assert all_answers(other) == wanted
        other.kill()
        other.start()
        assert all_answers(other) == wanted
        other.stop()
        checked = neptune_server("check", "--data", other.folder / "data")
        assert checked.returncode == 0 and "all as written" in checked.stdout, checked.stdout
    finally:
        if other.process and other.process.poll() is None:
            other.stop()
    # On the server it came from, its jobs are left alone.
    before = all_answers(filled)
    home = json.loads(cli.run("import", "parcel", "--json").stdout)
    assert (home["jobs"], home["points"], len(home["here"])) == (0, 0, 6)
    assert all_answers(filled) == before


def test_a_long_sealed_channel_is_exported_and_imported(tmp_path: pathlib.Path) -> None:
    """More points than one page, and than one request of an import: sealed on both sides."""
    servers = []
    for name in ["from", "to"]:
        (tmp_path / name).mkdir()
        server = Server(tmp_path / name)
        server.environment["NEPTUNE_SERVER_SEAL_AFTER_SECONDS"] = "0"
        servers.append(server.start())
    try:
        first, second = servers
        assert first.request("POST", "/projects", {"key": "LONG", "name": "long"}).status == 201
        job = first.request("POST", "/jobs", {"project": "LONG", "name": "long"}).json()["id"]
        for part in range(13):
            steps = range(part * 20_000, part * 20_000 + 20_000)
            points = {
                "y": [
                    [step if step % 1000 else -step, "NaN" if step % 777 == 0 else step / 3] for step in steps
                ]
            }
            stored = first.request("POST", f"/jobs/{job}/points", points, {"Idempotency-Key": f"{part}"})
            assert stored.status == 200, stored.body
        first.wait_until_sealed()
        wanted = all_answers(first)
        exported = Cli(tmp_path, first.url).run("export", "LONG", "--to", "parcel")
        assert exported.returncode == 0, exported.stderr
        imported = Cli(tmp_path, second.url).run("import", "parcel", "--json")
        assert json.loads(imported.stdout)["points"] == 260_000, imported.stderr
        second.wait_until_sealed()
        assert all_answers(second) == wanted
        again = Cli(tmp_path, second.url).run("import", "parcel", "--json")
        assert json.loads(again.stdout)["points"] == 0, again.stderr
    finally:
        for server in servers:
            server.stop()
    for server in servers:
        checked = neptune_server("check", "--data", server.folder / "data")
        assert checked.returncode == 0 and " 0 frames" in checked.stdout, checked.stdout
        assert " 0 chunks" not in checked.stdout, checked.stdout


def test_an_export_that_is_cut_off_or_changed_is_refused(filled: Server, tmp_path: pathlib.Path) -> None:
    cli = Cli(tmp_path, filled.url)
    job = job_of(filled, "a whole job")
    assert cli.run("export", job, "--to", "parcel").returncode == 0
    changed = next((tmp_path / "parcel").rglob("*.log"))
    whole = changed.read_bytes()
    changed.write_bytes(whole[:-1] + b"#")
    refused = cli.run("import", "parcel")
    assert refused.returncode == 1 and "not as it was exported" in refused.stderr
    changed.write_bytes(whole)
    (tmp_path / "parcel" / "manifest.json").unlink()
    cut = cli.run("import", "parcel")
    assert cut.returncode == 1 and "cut off" in cut.stderr


def test_other_programs_read_the_tables(filled: Server, tmp_path: pathlib.Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not locked in tests/requirements.txt")
    cli = Cli(tmp_path, filled.url)
    job = job_of(filled, "a whole job")
    assert cli.run("export", job, "--to", "parcel").returncode == 0
    described = json.loads((tmp_path / "parcel" / "jobs" / job / "job.json").read_text("utf-8"))
    answers = all_answers(filled)["jobs"][job]["channels"]
    for number, channel in enumerate(described["channels"]):
        table = parquet.read_table(tmp_path / "parcel" / "jobs" / job / "channels" / f"{number}.parquet")
        found = answers[channel["name"]]
        assert table.num_rows == found["channel"]["summary"]["count"]
        if channel["kind"] == "numeric" and isinstance(found["arrival"], dict):
            y = table.column("y").to_numpy()
            assert [as_bits(float(value)) for value in y] == found["arrival"]["y"]
            assert [value.value for value in table.column("time")] == found["arrival"]["time"]
        if channel["name"] == "notes":
            assert table.column("text").to_pylist() == [line["text"] for line in found["lines"]]
