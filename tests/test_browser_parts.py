"""The files of the base model, and a base of one's own, in a real browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser import Watch, serving_fake, tab

pytestmark = pytest.mark.browser


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    with serving_fake(tmp_path / "data") as url:
        yield url


def test_the_table_follows_the_chosen_model(url: str, page_watch: tuple[Page, Watch]) -> None:
    page, watch = page_watch
    page.goto(f"{url}/", wait_until="commit")
    page.locator('[data-model="sandbox"]').click()
    expect(page.locator("#t-model-base input")).to_have_value("sandbox")
    expect(page.locator(".parts")).to_be_hidden()  # it has no files to look for
    page.locator('[data-model="flux-dev"]').click()
    expect(page.locator("#t-model-base input")).to_have_value("flux-dev")
    rows = page.locator(".parts tbody tr")
    expect(rows).to_have_count(4)
    expect(rows.first).to_be_visible()  # open by itself: something is missing
    expect(rows.first).to_contain_text("flux1-dev.safetensors")
    expect(rows.first.locator("a")).to_have_attribute("href", re.compile("^https://huggingface.co/black-forest-labs/"))
    expect(rows.first.locator(".icon-lock")).to_be_visible()
    page.locator('[data-model="sd15"]').click()
    expect(rows.first).to_contain_text("v1-5-pruned-emaonly.safetensors")
    expect(rows).to_have_count(3)
    watch.assert_clean()


def test_a_base_of_ones_own_is_typed(url: str, page_watch: tuple[Page, Watch], tmp_path: Path) -> None:
    page, watch = page_watch
    page.goto(f"{url}/", wait_until="commit")
    field = page.locator("#t-model-base input")
    expect(field).to_have_value(str(tmp_path / "data" / "base"))
    expect(page.locator('.card[aria-checked="true"] strong')).to_have_text("base")
    field.fill("/no/such/model.safetensors")
    field.press("Tab")
    expect(page.locator("#t-model-base .field-error")).to_contain_text("neither a known model nor a file or folder")
    field.fill("sandbox")
    field.press("Enter")
    expect(page.locator("#t-model-base .field-error")).to_have_count(0)
    expect(page.locator('[data-model="sandbox"]')).to_have_attribute("aria-checked", "true")
    watch.assert_clean()


@pytest.mark.parametrize("width", [1400, 390])
def test_the_table_fits_the_window(url: str, browser: Browser, width: int) -> None:
    with tab(browser, width=width) as (page, watch):
        page.goto(f"{url}/", wait_until="commit")
        page.locator('[data-model="sd35-medium"]').click()
        expect(page.locator(".parts tbody tr")).to_have_count(5)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        watch.assert_clean()
