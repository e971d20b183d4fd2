"""Opens a job page and notes, for each new point of the chart, the wall time of the frame that shows it."""

import json
import pathlib
import sys
import time

from playwright.sync_api import sync_playwright

url, ready, out, count = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])

WATCH = """
([chart, count]) => {
  const element = document.querySelector(`[data-testid="${chart}"]`);
  window.seen = [];
  let known = Number(element.dataset.points);
  new MutationObserver(() => {
    const now = Number(element.dataset.points);
    if (now > known) {
      const fresh = now - known;
      known = now;
      requestAnimationFrame(() => {
        for (let i = 0; i < fresh; i++) window.seen.push(performance.timeOrigin + performance.now());
        window.done = known >= count;
      });
    }
  }).observe(element, { attributes: true, attributeFilter: ["data-points"] });
}
"""

with sync_playwright() as playwright:
    browser = playwright.chromium.launch(
        executable_path="/usr/bin/chromium",
        args=["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"],
    )
    page = browser.new_page()
    page.goto(url)
    page.wait_for_selector('[data-testid="chart-loss"][data-points="1"]', timeout=30_000)
    page.evaluate(WATCH, ["chart-loss", count])
    pathlib.Path(ready).touch()
    # The page's policy forbids what wait_for_function would need, so this asks again and again.
    deadline = time.monotonic() + 120
    while not page.evaluate("() => window.done === true"):
        if time.monotonic() > deadline:
            sys.exit("the browser did not see every point within two minutes")
        time.sleep(0.05)
    pathlib.Path(out).write_text(json.dumps(page.evaluate("window.seen")), encoding="utf-8")
    browser.close()
