"""The way of `benchmarks.preferences`, once, in the browser: every step by clicks and keys, with the real workers.

python -m benchmarks.preferences_page [--keep FOLDER] [--pictures FOLDER]

The annotator by rule sees only what a person sees: it takes both pictures out of the page, and presses a key.
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urljoin

from PIL import Image
from playwright.sync_api import Page, expect

from benchmarks.preferences import drawn_scenes, seen
from tests.browser import chromium, serving, tab
from trainers.preferences.duels import ROLES
from trainers.preferences.prefset import Prefset
from trainers.sandbox import scenes

JOB_MS = 900_000
MIDDLE = 60  # keys, where the screenshot is taken
SHOWN = ".vt-layer[data-shown]"
SUMMARY = ".vt-summary"
PAINTED = (
    f"() => document.querySelector('.vt-stage:not([data-waiting])[data-key]') || document.querySelector('{SUMMARY}')"
)
NEXT = f"(key) => document.querySelector('.vt-stage')?.dataset.key !== key || document.querySelector('{SUMMARY}')"


class Shots:
    """Screenshots on the way, when there is a folder for them."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def take(self, page: Page, name: str) -> None:
        if self._folder:
            page.wait_for_timeout(300)
            page.screenshot(path=self._folder / f"{name}.png")


def step(page: Page, name: str) -> None:
    page.locator(f"#pf-tab-{name}").click()


def put(page: Page, field: str, text: str) -> None:
    page.locator(field).fill(text)
    page.locator(field).press("Tab")


def job_done(page: Page) -> None:
    expect(page.locator(".pf-job:visible .state").first).to_have_attribute("data-state", "done", timeout=JOB_MS)


def generate(page: Page, prompts: list[str]) -> None:
    page.get_by_role("button", name="New set").click()
    page.locator("#pf-new-name").fill("drawn")
    page.locator("#pf-new-name").press("Enter")
    expect(page.locator(".pf-main h1")).to_have_text("drawn")
    put(page, "#pf-generate-prompts-texts", "\n".join(prompts))
    put(page, "#pf-generate-pictures-per_prompt", "2")
    expect(page.locator("#pf-generate-start")).to_have_text(f"Draw {2 * len(prompts)} pictures")
    page.locator("#pf-generate-start").click()
    job_done(page)


def height(page: Page, side: str) -> float:
    address = page.locator(f"{SHOWN} [data-side={side}] img").get_attribute("src") or ""
    answer = page.request.get(urljoin(page.url, address))
    y = scenes.read(Image.open(io.BytesIO(answer.body()))).y
    return scenes.SIZE if y is None else y


def label(page: Page, shots: Shots, name: str) -> int:
    """Answer what is shown until the queue is empty; how many keys it took."""
    expect(page.locator(SHOWN)).to_be_visible()
    keys = 0
    while True:
        page.wait_for_function(PAINTED)
        if page.locator(SUMMARY).is_visible():
            return keys
        key = page.locator(".vt-stage").get_attribute("data-key")
        page.keyboard.press("ArrowLeft" if height(page, "left") < height(page, "right") else "ArrowRight")
        keys += 1
        page.wait_for_function(NEXT, arg=key)
        if keys == MIDDLE:
            shots.take(page, name)


def wait_for_run(page: Page, name: str) -> None:
    page.locator(".run-row", has_text=name).first.click()
    expect(page.locator(".run-title .state")).to_have_attribute("data-state", "done", timeout=JOB_MS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", type=Path, help="the data folder of the app, which stays")
    parser.add_argument("--pictures", type=Path, help="folder for screenshots")
    args = parser.parse_args()
    shots = Shots(args.pictures)
    asked, fresh = drawn_scenes(1), drawn_scenes(1, fresh=True)
    with tempfile.TemporaryDirectory() as temporary:
        data = (args.keep or Path(temporary) / "data").absolute()
        begun = time.monotonic()
        data.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "app.main", "--port", "{port}", "--no-browser", "--data-dir", str(data)]
        with (
            serving(command, data.with_name("app.log")) as url,
            chromium() as browser,
            tab(browser, width=1440) as (page, watch),
        ):
            page.goto(f"{url}/#preferences", wait_until="commit")
            generate(page, list(asked))
            shots.take(page, "preferences")
            step(page, "scores")
            page.locator("#pf-build").click()
            expect(page.locator("#pf-vote")).to_have_text(f"Label {len(asked)} pairs")
            print(f"drawn and paired after {time.monotonic() - begun:.0f} s", flush=True)
            page.locator("#pf-vote").click()
            page.locator("dialog input").fill("rule")
            page.locator("dialog input").press("Enter")
            keys = label(page, shots, "voting")
            shots.take(page, "voted")
            page.locator(".vt-leave").click()
            print(f"{keys} keys; labelled after {time.monotonic() - begun:.0f} s", flush=True)
            step(page, "results")
            shots.take(page, "results")
            page.get_by_role("button", name="Start training now").click()
            expect(page.locator("body")).to_have_attribute("data-tab", "runs")
            wait_for_run(page, "drawn-dpo")
            shots.take(page, "pairs")
            print(f"trained after {time.monotonic() - begun:.0f} s", flush=True)
            page.locator("#run-compare").click()
            put(page, "#pf-compare-prompts-texts", "\n".join(fresh))
            page.locator("#pf-compare-start").click()
            job_done(page)
            page.reload(wait_until="commit")
            expect(page.locator(".pf-verdict").first).to_be_visible()
            print(f"compared after {time.monotonic() - begun:.0f} s", flush=True)
            page.get_by_role("button", name="Label blindly").first.click()
            keys = label(page, shots, "blind")
            page.locator(".vt-leave").click()
            print(f"{keys} keys on the comparison after {time.monotonic() - begun:.0f} s", flush=True)
            page.locator('.at-preferences [data-set="drawn"]').click()
            expect(page.locator(".pf-main h1")).to_have_text("drawn")
            step(page, "proof")
            expect(page.locator(".pf-interval", has_text="People").first).to_be_visible()
            page.get_by_role("button", name="Side by side").first.click()
            print(page.locator(".pf-proof").first.inner_text(), flush=True)
            shots.take(page, "proof")
            watch.assert_clean()
        proof = next(
            folder for folder in (data / "preferences").iterdir() if folder.name != "drawn" and folder.is_dir()
        )
        before, after = (seen(Prefset(proof), role, fresh) for role in ROLES)
    print(f"upper half {before.upper:.1%} -> {after.upper:.1%}")
    print(f"as the prompt says {before.adherence:.1%} -> {after.adherence:.1%}")


if __name__ == "__main__":
    main()
