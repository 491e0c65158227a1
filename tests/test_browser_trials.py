"""Testing a finished run's adapter in a real browser, over a worker and a drawer that need no model."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser import Watch, serving, tab

pytestmark = pytest.mark.browser


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """An app whose runs end at once, with a file."""
    command = [sys.executable, "-m", "tests.serve", str(tmp_path / "data"), "{port}", "ok"]
    with serving(command, tmp_path / "app.log") as url:
        yield url


def finished_run(page: Page, url: str) -> None:
    page.goto(f"{url}/", wait_until="commit")
    expect(page.locator("#plan-line")).to_contain_text("300 steps")
    page.locator("#t-start").click()
    expect(page.locator(".run-detail .state")).to_have_text("Done", timeout=60_000)
    expect(page.locator(".tests")).to_be_visible()


def draw(page: Page, prompt: str, strengths: str) -> None:
    page.locator(".test-form [name=prompt]").fill(prompt)
    page.locator(".test-form [name=strengths]").fill(strengths)
    page.locator("[data-test=draw]").click()


def test_a_sweep_appears_outlives_a_reload_and_is_deleted(url: str, page_watch: tuple[Page, Watch]) -> None:
    page, watch = page_watch
    finished_run(page, url)
    expect(page.locator(".test-form [name=prompt]")).to_have_value("a wuzzle")
    expect(page.locator(".test-form [name=strengths]")).to_have_value("0, 0.5, 0.8, 1, 1.2")
    expect(page.locator(".test-form [name=negative]")).to_have_count(0)  # FLUX has no real guidance

    page.evaluate(
        """() => {
          window.seen = [];
          const look = () => window.seen.push([document.querySelectorAll('.trial-row img').length,
                                               document.querySelector('.trial-state')?.textContent ?? '']);
          new MutationObserver(look).observe(document.querySelector('.trials'), { childList: true, subtree: true });
        }"""
    )
    draw(page, "slow <b>wuzzle</b> ${1}", "0, 0.5, 1")
    pictures = page.locator(".trial-row img")
    expect(pictures).to_have_count(3)
    seen = page.evaluate("window.seen")
    assert any(0 < count < 3 and re.match(r"Drawing [23] of 3", text) for count, text in seen), seen
    expect(page.locator(".trial figcaption")).to_have_text(["without", "0.5", "1"])
    expect(page.locator(".trial-prompt")).to_have_text("slow <b>wuzzle</b> ${1}")
    expect(page.locator(".test-status")).to_contain_text("The model is in memory")

    page.reload(wait_until="commit")
    expect(pictures).to_have_count(3)
    expect(page.locator(".test-form [name=strengths]")).to_have_value("0, 0.5, 1")  # as it was asked last
    expect(page.locator(".trial-head a[download]")).to_have_attribute("href", re.compile(r"-sheet\.png\?v="))

    pictures.nth(2).click()
    expect(page.locator(".dialog .tag")).to_have_text(["without", "1"])
    expect(page.locator(".dialog a[download]")).to_have_attribute("download", re.compile(r"-42-1\.png$"))
    page.locator(".dialog footer button").click()

    page.locator(".test-status .link").click()  # free the memory
    expect(page.locator(".test-status")).to_be_empty()
    page.locator(".trial-head button", has=page.locator(".icon-delete")).click()
    page.locator(".dialog .danger").click()
    expect(page.locator(".trial")).to_have_count(0)
    watch.assert_clean()


def test_what_goes_wrong_is_told_and_the_next_test_works(url: str, page_watch: tuple[Page, Watch]) -> None:
    page, watch = page_watch
    finished_run(page, url)
    draw(page, "fail please", "1")
    expect(page.locator(".trial-state.failed")).to_contain_text("It cannot be drawn. Ask for something else.")
    draw(page, "die please", "1")
    expect(page.locator(".test-status")).to_contain_text("ended unexpectedly")
    expect(page.locator(".trial").first.locator(".trial-state")).to_contain_text("Not finished")
    draw(page, "a wuzzle", "strong")
    expect(page.locator(".test-form .field-error")).to_contain_text("Give 1 to 12 strengths")
    draw(page, "a wuzzle", "1\uff0c0.5")
    expect(page.locator(".trial").first.locator("img")).to_have_count(2)
    expect(page.locator(".test-status")).to_contain_text("The model is in memory")
    expect(page.locator(".test-form .field-error")).to_be_hidden()
    page.locator(".test-more summary").click()
    page.locator(".test-form [name=width]").fill("70")
    page.locator("[data-test=draw]").click()
    expect(page.locator(".toast.danger")).to_contain_text("70 is not a multiple of 16. Use 64.")
    watch.assert_clean()


@pytest.mark.parametrize("width", [1400, 390])
def test_the_panel_fits_the_window(url: str, browser: Browser, width: int) -> None:
    with tab(browser, width=width) as (page, watch):
        finished_run(page, url)
        draw(page, "a wuzzle with a very long description " * 6, "0, 0.25, 0.5, 0.75, 1, 1.25, 1.5")
        expect(page.locator(".trial-row img")).to_have_count(7)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        watch.assert_clean()
