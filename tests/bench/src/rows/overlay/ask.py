"""Asks for many lines at once from a page of the server, decodes them there, and prints the milliseconds of each round."""

import json
import sys

from playwright.sync_api import sync_playwright

url, job = sys.argv[1:3]
lines, points, rounds = (int(text) for text in sys.argv[3:6])

ASK = """
async ([path, lines, points]) => {
  const begin = performance.now();
  const answer = await fetch(path, { headers: { Accept: "application/vnd.neptune.columns" } });
  if (!answer.ok) throw new Error(`status ${answer.status}: ${await answer.text()}`);
  const bytes = await answer.arrayBuffer();
  const length = new DataView(bytes).getUint32(4, true);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(bytes, 8, length)));
  let at = Math.ceil((8 + length) / 8) * 8, count = 0n, least = Infinity;
  for (const table of head.tables) {
    for (const column of table.columns) {
      const kind = { f64: Float64Array, i64: BigInt64Array, u64: BigUint64Array }[column.type];
      const values = new kind(bytes, at, table.rows);
      at += 8 * table.rows;
      if (column.name === "count") for (const value of values) count += value;
      if (column.type === "f64") for (const value of values) least = Math.min(least, value);
    }
  }
  const took = performance.now() - begin;
  if (head.tables.length !== lines || count !== BigInt(lines) * BigInt(points) || !Number.isFinite(least)) {
    throw new Error(`${head.tables.length} lines of ${count} points, least ${least}`);
  }
  return took;
}
"""

path = "/api/v1/envelope?buckets=1000" + "".join(f"&series={job}/channel%20{i}" for i in range(lines))
with sync_playwright() as playwright:
    browser = playwright.chromium.launch(
        executable_path="/usr/bin/chromium",
        args=["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"],
    )
    page = browser.new_page()
    page.goto(url)
    for _ in range(5):  # the code is compiled and the connection made
        page.evaluate(ASK, [path, lines, points])
    times = [page.evaluate(ASK, [path, lines, points]) for _ in range(rounds)]
    browser.close()
print(json.dumps(times))
