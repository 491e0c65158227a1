"""The buttons of findings, in a real browser: one mends the draft, the other shows the pictures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.browser import serving_fake, tab
from tests.checks import add_picture

pytestmark = pytest.mark.browser


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    pictures = tmp_path / "data/pictures"
    add_picture(pictures / "plain.png")
    (pictures / "broken.png").write_bytes(b"")
    with serving_fake(tmp_path / "data") as url:
        yield url


def test_a_problem_is_mended_and_pictures_are_shown(url: str, browser: Browser) -> None:
    with tab(browser) as (page, watch):
        page.goto(f"{url}/", wait_until="commit")
        problem = page.locator(".checks .problem")
        expect(problem).to_contain_text("1 picture cannot be read: broken.png")
        problem.get_by_role("button", name="Fix: go on without them").click()
        expect(problem).to_have_count(0)
        expect(page.locator(".checks .warning")).to_contain_text(
            ["Go on without 1 picture", "1 picture without caption"]
        )
        page.set_viewport_size({"width": 1400, "height": 420})
        expect(page.locator("#t-start")).to_be_in_viewport()  # however long the list of findings is
        page.set_viewport_size({"width": 1400, "height": 900})
        page.locator(".checks li", has_text="without caption").get_by_role("button", name="Show in Data").click()
        page.wait_for_url("**/#dataset")
        expect(page.locator(".at-dataset .ds-cell")).to_have_count(1)
        watch.assert_clean()
