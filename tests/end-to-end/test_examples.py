"""The two examples, as a person runs them, watched in a browser."""

from __future__ import annotations

import functools
import pathlib
import shutil
import time
from typing import Any

from conftest import EXAMPLES, Cli, Server, wait_until


def example(name: str, folder: pathlib.Path) -> pathlib.Path:
    """A copy of an example, so that nothing is written into the checkout."""
    return pathlib.Path(shutil.copytree(EXAMPLES / name, folder / name))


def test_the_chart_grows_while_sine_cosine_runs(
    server: Server, cli: Cli, page: Any, tmp_path: pathlib.Path
) -> None:
    program = cli.start(
        *["run", "main.py", "--config", "config.yaml", "--dump-dir-url", str(tmp_path / "dump")],
        *["--", "--amplitude", "5", "--sampling_rate", "2.5"],
        cwd=example("sine-cosine", tmp_path),
    )
    job = wait_until("the job is registered", server.jobs)[0]["id"]
    page.goto(f"{server.url}/jobs/{job}")
    chart = page.locator('[data-testid="chart-sine"]')
    chart.wait_for(timeout=30_000)

    def shown_beyond(number: int) -> int:
        shown = int(chart.get_attribute("data-points") or 0)
        return shown if shown > number else 0

    seen = [0]
    for _ in range(4):
        seen.append(wait_until("the chart grows", functools.partial(shown_beyond, seen[-1])))
    assert program.poll() is None, "it grew while the program ran"
    assert page.locator("canvas").count() > 0
    assert page.locator('[data-testid="job-state"]').inner_text().strip().lower().startswith("running")

    cli.run("abort", job)
    program.communicate(timeout=30)
    found = server.job(job)
    assert found["state"] == "aborted"
    params = {param["name"]: param for param in found["params"]}
    assert (params["amplitude"]["type"], params["amplitude"]["value"]) == ("double", 5.0)
    assert (params["sampling_rate"]["type"], params["sampling_rate"]["value"]) == ("double", 2.5)
    sine = server.points(job, "sine")["y"]
    assert 4.0 < max(map(abs, sine)) <= 5.0
    assert [chart["name"] for chart in server.get(f"/jobs/{job}/charts")]
    copies = list((tmp_path / "dump").rglob("main.py"))
    assert copies, "the program ran in its copy under --dump-dir-url"


def test_abort_from_the_page_ends_the_process_within_two_seconds(
    server: Server, cli: Cli, page: Any, tmp_path: pathlib.Path
) -> None:
    program = cli.start("run", "main.py", "--config", "config.yaml", cwd=example("sine-cosine", tmp_path))
    job = wait_until("the job is registered", server.jobs)[0]["id"]
    wait_until(
        "it sends points", lambda: server.channels(job).get("sine", {}).get("summary", {}).get("count")
    )
    page.goto(f"{server.url}/jobs/{job}")
    page.locator('[data-testid="abort-button"]').click()
    confirm = page.locator('[data-testid="abort-confirm"]')
    confirm.wait_for(timeout=10_000)
    began = time.monotonic()
    confirm.click()
    program.wait(timeout=20)
    took = time.monotonic() - began
    program.communicate()
    assert took < 2.0, f"the process ended {took:.2f} s after the click"
    state = page.locator('[data-testid="job-state"]')
    wait_until("the page says so", lambda: state.inner_text().strip().lower().startswith("aborted"), 5.0)
    assert server.job(job)["state"] == "aborted"


def test_digits_trains_and_succeeds(server: Server, cli: Cli, page: Any, tmp_path: pathlib.Path) -> None:
    run = cli.run(
        *["run", "main.py", "--config", "config.yaml", "--", "--epochs", "3"],
        cwd=example("digits", tmp_path),
        within=300,
    )
    assert run.returncode == 0, run.stderr
    job = server.jobs()[0]
    assert (job["state"], job["exit_code"], job["dropped_points"]) == ("succeeded", 0, 0)
    channels = server.channels(job["id"])
    kinds = {channel["kind"] for channel in channels.values() if channel["origin"] == "user"}
    assert kinds == {"numeric", "text", "image"}
    images = next(name for name, channel in channels.items() if channel["kind"] == "image")
    assert channels[images]["summary"]["count"] == 3
    accuracy = next(name for name in channels if "valid" in name and "acc" in name)
    assert channels[accuracy]["summary"]["last"] > 0.8
    assert channels["sys/memory_bytes"]["summary"]["max"] > 10e6
    page.goto(f"{server.url}/jobs/{job['id']}/images")
    page.locator('[data-testid="image-view"] img').first.wait_for(timeout=20_000)
    loaded = "() => { const i = document.querySelector('[data-testid=\"image-view\"] img'); return i.complete && i.naturalWidth > 50 }"
    page.wait_for_function(loaded, timeout=10_000)


def test_the_jobs_list_shows_a_job_come_and_end(
    server: Server, cli: Cli, page: Any, tmp_path: pathlib.Path
) -> None:
    page.goto(server.url)
    page.get_by_text("No jobs yet").first.wait_for(timeout=30_000)
    (tmp_path / "main.py").write_text("import sys\nprint('hello from the job')\nsys.exit(3)\n")
    run = cli.run("run", "main.py", "--tag", "quick")
    assert run.returncode == 3
    job = server.jobs()[0]
    row = page.locator(f'[data-testid="job-row-{job["id"]}"]')
    row.wait_for(timeout=10_000)
    wait_until("the row says failed", lambda: "failed" in row.inner_text().lower(), 5.0)
    assert "quick" in row.inner_text()
    assert (job["reason"], job["exit_code"]) == ("exit status 3", 3)
    row.locator("a").first.click()
    page.wait_for_url(f"**/jobs/{job['id']}**")
    page.goto(f"{server.url}/jobs/{job['id']}/logs")
    logs = page.locator('[data-testid="log-lines"]')
    wait_until("the log is shown", lambda: "hello from the job" in logs.inner_text(), 10.0)
