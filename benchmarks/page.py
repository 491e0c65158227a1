"""How light and quick the page is: `python -m benchmarks.page`. Prints each number beside its target.

The real app in Chromium, over a worker that needs no model: one run at 50 steps a second, and one of 20,000 steps.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, Response

from tests.browser import Watch, chromium, serving, tab

POINTS = 10_000
CLICKS = 20
LIVE_S = 8

READY_JS = """() => {
  const button = document.querySelector('#t-start');
  return button?.getClientRects().length && document.querySelector('#plan-line')?.textContent;
}"""

# A plot of so many points in the page, and a click on its "Log" button: until the frame with the answer is painted.
CLICK_JS = """async ([points, clicks]) => {
  const charts = new window.atelier.Charts();
  const loss = (i) => 1 / (1 + i / 500) + Math.random() / 9;
  charts.add(Array.from({ length: points }, (_, i) => [i + 1, loss(i), 1e-4, 0.5, 0.2, 1.2]));
  document.querySelector('.run-detail').prepend(charts.element);
  charts.draw();
  const frame = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  await frame();
  const times = [];
  for (let i = 0; i < clicks; i++) {
    const begun = performance.now();
    charts.element.querySelector('#plot-log').click();
    await frame();
    times.push(performance.now() - begun);
  }
  charts.element.remove();
  return times;
}"""


def report(name: str, value: float, unit: str, target: float) -> bool:
    good = value <= target
    print(f"{name:<44}{value:>9.0f} {unit:<6} target {target:g} {unit:<6} {'ok' if good else 'MISSED'}")
    return good


def measure_ready(page: Page, url: str) -> float:
    """Milliseconds from the start of the navigation until Start can be pressed and the plan is there."""
    page.goto(url, wait_until="commit")
    page.wait_for_function(READY_JS, polling="raf", timeout=60_000)
    return float(page.evaluate("() => performance.now()"))


def measure_polls(page: Page) -> dict[str, list[int]]:
    """Bytes of the answers to the polls of a running run and of the header, by name."""
    sizes: dict[str, list[int]] = {"poll": [], "header": []}

    def note(response: Response) -> None:
        if "component_server" in response.url:
            name = json.loads(response.request.post_data or "{}").get("fn_name")
            if name in sizes:
                sizes[name].append(len(response.body()))

    page.locator("#t-start").click()
    page.locator(".facts-row").wait_for()
    page.wait_for_timeout(2000)  # the first answers carry what was there before
    page.on("response", note)
    page.wait_for_timeout(LIVE_S * 1000)
    page.remove_listener("response", note)
    return sizes


def measure_long_run(page: Page, url: str) -> list[float]:
    """Milliseconds from a click to the frame that shows its answer: a long run is open, and a plot of POINTS points."""
    page.goto(url, wait_until="commit")
    page.wait_for_function(READY_JS, timeout=60_000)
    page.locator("#t-start").click()
    page.locator(".run-detail .state[data-state=done]").wait_for(timeout=60_000)
    return [float(value) for value in page.evaluate(CLICK_JS, [POINTS, CLICKS])]


def main() -> int:
    watches: list[Watch] = []
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        root = Path(folder)
        command = [sys.executable, "-m", "tests.serve"]
        with serving([*command, str(root / "slow"), "{port}", "slow"], root / "slow.log") as url:
            ready = []
            for _ in range(3):
                with tab(browser) as (page, watch):
                    ready.append(measure_ready(page, url))
                    watches.append(watch)
            with tab(browser) as (page, watch):
                measure_ready(page, url)
                sizes = measure_polls(page)
                page.locator('[data-command="stop"]').click()
                watches.append(watch)
        flood = serving([*command, str(root / "flood"), "{port}", "flood"], root / "flood.log")
        with flood as url, tab(browser) as (page, watch):
            clicks = measure_long_run(page, url)
            watches.append(watch)
    good = [
        report("poll of a run at 50 steps a second, median", statistics.median(sizes["poll"]), "bytes", 1024),
        report("poll of the header, largest", max(sizes["header"]), "bytes", 1024),
        report(f"click to answer with {POINTS:,} points, slowest", max(clicks), "ms", 100),
        report("page ready after the server answers, median", statistics.median(ready), "ms", 3000),
        report("requests that leave this machine", sum(len(watch.outside) for watch in watches), "", 0),
    ]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
