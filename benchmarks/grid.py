"""How quick the grid of pictures is in a browser: `python -m benchmarks.grid [--pictures 5000]`.

The real app in Chromium on made pictures whose thumbnails are there. Prints each number beside its target. Times at the
server are from the request that leaves the browser to the first byte of its answer.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Page, Request

from app.services.studio import Studio
from benchmarks.gallery import make_pictures, read_whole
from benchmarks.page import report
from tests.browser import chromium, serving, tab

NAME = "many"
TRIES = 15
SETTLE_MS = 2000  # the page asks for more than the grid when it begins
FRAMES = 300
PX_A_FRAME = 60

# In the page: painted() comes in the frame after the first row in sight has its pictures, of `least` or more.
PAINTED_JS = """
  const frame = () => new Promise((done) => requestAnimationFrame(done));
  const painted = async (least) => {
    const ground = () => document.querySelector('.ds-ground');
    const isThere = () => {
      const grid = document.querySelector('.ds-grid');
      if (!grid?.clientHeight || Number(ground().dataset.total) < least) return false;
      const area = grid.getBoundingClientRect();
      const cells = [...grid.querySelectorAll('.ds-cell')].filter((cell) => {
        const { top, bottom } = cell.getBoundingClientRect();
        return bottom > area.top && top < area.top + (bottom - top);
      });
      return cells.length > 1 && cells.every((cell) => cell.record && cell.picture.naturalWidth);
    };
    while (!isThere()) await frame();
    await frame();
  };
"""

OPEN_JS = f"""async ([name, least]) => {{{PAINTED_JS}
  const select = document.querySelector('#ds-set');
  const option = [...select.options].find((one) => one.textContent.startsWith(name));
  const begun = performance.now();
  select.value = option.value;
  select.dispatchEvent(new Event('change'));
  await painted(least);
  return performance.now() - begun;
}}"""

SHOW_JS = f"""async (least) => {{{PAINTED_JS}
  const begun = performance.now();
  window.atelier.go('dataset');
  await painted(least);
  return performance.now() - begun;
}}"""

SCROLL_JS = """async ([frames, step]) => {
  const grid = document.querySelector('.ds-grid');
  const frame = () => new Promise((done) => requestAnimationFrame(done));
  grid.scrollTop = 0;
  let last = await frame();
  const times = [];
  let most = 0;
  for (let n = 0; n < frames; n++) {
    grid.scrollTop += step;
    const now = await frame();
    times.push(now - last);
    last = now;
    most = Math.max(most, grid.querySelectorAll('.ds-cell').length);
  }
  return [times, most];
}"""

TURN_JS = f"""async ([least, turns]) => {{{PAINTED_JS}
  const grid = document.querySelector('.ds-grid');
  const times = [];
  for (let n = 1; n <= turns; n++) {{
    const begun = performance.now();
    grid.scrollTop = (grid.scrollHeight - grid.clientHeight) * (((n * 7) % turns) / turns);
    await frame();
    await painted(least);
    times.push(performance.now() - begun);
  }}
  return times;
}}"""

SAVE_JS = """async (tries) => {
  const frame = () => new Promise((done) => requestAnimationFrame(done));
  const until = async (holds) => { while (!holds()) await frame(); };
  const text = document.querySelector('.ds-text');
  const state = document.querySelector('.ds-state');
  const times = [];
  for (let n = 0; n < tries; n++) {
    text.value += `, saved ${n}`;
    text.dispatchEvent(new Event('input'));
    const begun = performance.now();
    text.dispatchEvent(new KeyboardEvent('keydown', { key: 's', ctrlKey: true }));
    await until(() => state.dataset.state === 'saved');
    await frame();
    times.push(performance.now() - begun);
  }
  return times;
}"""


def prepare(data_dir: Path, count: int) -> None:
    """A data set that was read once: index and thumbnails are there."""
    folder = data_dir / "datasets" / NAME
    make_pictures(folder, count)
    studio = Studio(data_dir)
    gallery, set_id = studio.gallery, studio.gallery.id_of(str(folder))
    read_whole(gallery, set_id)
    for first in range(0, count, 500):
        for item in gallery.page(set_id, {}, first, 500)["items"]:
            gallery.thumbnail(set_id, item[0])
    studio.close()


class ServerTimes:
    """Milliseconds from a question of the page to the first byte of its answer, by the name of what it asks."""

    def __init__(self, page: Page) -> None:
        self._times: dict[str, list[float]] = {}
        page.on("requestfinished", self._note)

    def _note(self, request: Request) -> None:
        if "component_server" in request.url:
            name = json.loads(request.post_data or "{}").get("fn_name", "")
            self._times.setdefault(name, []).append(request.timing["responseStart"] - request.timing["requestStart"])

    def of(self, name: str, act: Callable[[], list[float]]) -> tuple[list[float], list[float]]:
        """What `act` measures in the page, and the times of its questions at the server."""
        self._times.clear()
        return act(), self._times.get(name, [])


def measure(page: Page, url: str, count: int) -> list[bool]:
    least = min(count, 100)  # more pictures than the app's other set has
    page.goto(f"{url}/#dataset", wait_until="commit")
    page.locator("#ds-set option", has_text=NAME).wait_for(state="attached")
    page.wait_for_timeout(SETTLE_MS)
    server = ServerTimes(page)
    first = page.evaluate(OPEN_JS, [NAME, least])
    page.reload(wait_until="commit")
    page.wait_for_function("() => document.querySelector('#ds-set')?.options.length")
    page.evaluate("() => window.atelier.go('train')")
    page.wait_for_timeout(SETTLE_MS)
    shown = page.evaluate(SHOW_JS, least)
    frames, cells = page.evaluate(SCROLL_JS, [FRAMES, PX_A_FRAME])
    turned, turned_server = server.of("pictures", lambda: page.evaluate(TURN_JS, [least, TRIES]))
    page.locator(".ds-cell").first.click()
    page.locator(".ds-text").wait_for()
    saved, saved_server = server.of("save", lambda: page.evaluate(SAVE_JS, TRIES))
    return [
        report("set opened, first row painted", first, "ms", 1000),
        report("Data tab shown, first row painted", shown, "ms", 1000),
        report("scrolling, frame, median", statistics.median(frames), "ms", 17),
        report("scrolling, frame, p95", statistics.quantiles(frames, n=20)[-1], "ms", 34),
        report("scrolling, frame, longest", max(frames), "ms", 100),
        report("cells in the page, most", cells, "", 150),
        report("page turned and painted, median", statistics.median(turned), "ms", 300),
        report("page turned, at the server, slowest", max(turned_server), "ms", 100),
        report("caption saved, in the browser, median", statistics.median(saved), "ms", 300),
        report("caption saved, at the server, slowest", max(saved_server), "ms", 100),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=5000)
    count = parser.parse_args().pictures
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        data_dir = Path(folder, "data")
        prepare(data_dir, count)
        command = [sys.executable, "-m", "tests.serve", str(data_dir), "{port}", "slow"]
        with serving(command, Path(folder, "app.log")) as url, tab(browser, timeout_s=60) as (page, _):
            good = measure(page, url, count)
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
