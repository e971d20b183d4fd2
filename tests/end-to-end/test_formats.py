"""Every format of the store that was ever released is opened by today's server, and answers what it answered then."""

from __future__ import annotations

import json
import pathlib
import shutil
import subprocess

import pytest
from answers import all_answers, assert_holds
from conftest import ROOT, Server

FIXTURES = sorted((ROOT / "tests" / "fixtures" / "db").glob("v*"))


def check(data: pathlib.Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["neptune-server", "check", "--data", str(data)], capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize("seal_after", ["60", "0"])
@pytest.mark.parametrize("fixture", FIXTURES, ids=lambda path: path.name)
def test_an_older_format_opens_and_answers_the_same(
    fixture: pathlib.Path, seal_after: str, tmp_path: pathlib.Path
) -> None:
    folder = tmp_path / "server"
    shutil.copytree(fixture / "data", folder / "data")
    answers = json.loads((fixture / "answers.json").read_text("utf-8"))
    server = Server(folder)
    server.environment["NEPTUNE_SERVER_SEAL_AFTER_SECONDS"] = seal_after
    # The second start reads what the first one made of it.
    for _start in range(2):
        server.start()
        try:
            assert_holds(all_answers(server), answers)
            check_that_it_goes_on(server, answers)
            if seal_after == "0":
                server.wait_until_sealed()
            assert_holds(all_answers(server), answers)
        finally:
            server.stop()
        checked = check(folder / "data")
        assert checked.returncode == 0, checked.stdout + checked.stderr
        if seal_after == "0":
            assert " 0 chunks" not in checked.stdout, checked.stdout


def check_that_it_goes_on(server: Server, answers: dict[str, dict[str, dict[str, dict[str, str]]]]) -> None:
    """What was asked before the upgrade is known after it, and writing works."""
    by_name = {job["job"]["name"]: id for id, job in answers["jobs"].items()}
    points = {"from json": [[1, 0.5], [None, "NaN"], [0.25, "-Infinity", 1_700_000_000_000_000]],
              "words": [[1, "hello"], [2, "two\nlines"]]}  # fmt: skip
    headers = {"Idempotency-Key": "points-of-runs"}
    again = server.request("POST", f"/jobs/{by_name['runs']}/points", points, headers)
    assert again.json() == {"points": 5, "repeated": True}, again.body
    claim = server.request(
        "POST", f"/jobs/{by_name['runs']}/attempts", {"claim": "00112233445566778899aabbccddeeff"}
    )
    assert claim.status == 201 and claim.json()["attempt"] == 1, claim.body
    job = by_name["only created"]
    tagged = server.request("PATCH", f"/jobs/{job}", {"add_tags": ["later"]})
    assert "later" in tagged.json()["tags"], tagged.body
    assert server.request("PATCH", f"/jobs/{job}", {"remove_tags": ["later"]}).status == 200


def test_there_is_a_fixture() -> None:
    assert [path.name for path in FIXTURES] == ["v1", "v2"]
