"""The Expert form shows what means something to the family, and says why the rest does not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser import Watch, serving_fake

pytestmark = pytest.mark.browser


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """An app over a folder that passes for a FLUX model."""
    with serving_fake(tmp_path / "data") as url:
        yield url


def test_fields_come_and_go_with_the_family(url: str, page_watch: tuple[Page, Watch]) -> None:
    page, watch = page_watch
    page.goto(f"{url}/#expert", wait_until="commit")
    shift, offset = page.locator("#x-noise-shift"), page.locator("#x-noise-offset")
    expect(shift).to_be_visible()
    expect(offset).to_be_hidden()
    search = page.locator("#at-search")
    search.fill("noise_offset")
    expect(page.locator(".no-hits .nothing")).to_contain_text("FLUX.1 learns a straight flow")
    search.fill("wibble")
    expect(page.locator(".no-hits .nothing")).to_contain_text("No parameter has these words")
    search.press("Escape")

    page.locator("#x-model-base input").fill("sdxl")
    page.locator("#x-model-base input").press("Tab")
    expect(offset).to_be_visible()
    expect(shift).to_be_hidden()
    offset.locator("input").fill("0.1")
    offset.locator("input").press("Tab")
    expect(page.locator(".at-toml .code")).to_contain_text("offset = 0.1")

    page.locator("#x-model-base input").fill("flux-dev")
    page.locator("#x-model-base input").press("Tab")
    expect(offset).to_be_visible()  # what was set is never hidden
    expect(offset.locator(".field-error")).to_contain_text("Leave it at 0")
    offset.hover()
    offset.locator(".field-reset").click()
    expect(offset).to_be_hidden()
    watch.assert_clean()
