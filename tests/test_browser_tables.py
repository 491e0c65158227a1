"""Journeys in a real browser: tables are dropped, built-in pictures are copied, words are offered."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from app.services.studio import Studio
from tests.browser import Watch, serving_fake
from trainers.paths import ASSETS

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of an app whose list of data sets has the built-in pictures."""
    data_dir = tmp_path_factory.mktemp("app") / "data"
    studio = Studio(data_dir)
    studio.gallery.add_folder(str(ASSETS / "samples"))
    studio.close()
    return data_dir


@pytest.fixture(scope="module")
def url(data: Path) -> Iterator[str]:
    with serving_fake(data) as url:
        yield url


def test_a_dropped_table_gives_the_captions(
    url: str, data: Path, tmp_path: Path, page_watch: tuple[Page, Watch]
) -> None:
    page, watch = page_watch
    for number in range(3):
        Image.new("RGB", (64, 64), (80 * number, 90, 30)).save(tmp_path / f"{number}.png")
    rows = "".join(f"{number}.png,red ball {number}\n" for number in range(3))
    (tmp_path / "metadata.csv").write_text(f"file_name,text\n{rows}")
    page.goto(f"{url}/#dataset", wait_until="commit")
    page.locator(".ds-set").get_by_role("button", name="New", exact=True).click()
    expect(page.locator(".ds-new")).to_contain_text("webp, avif")
    expect(page.locator(".ds-new")).to_contain_text("metadata.csv")
    page.locator("#ds-drop").set_input_files(sorted(tmp_path.iterdir()))
    expect(page.locator(".toast")).to_contain_text("3 pictures, 1 table of captions")
    expect(page.locator(".ds-cell .ds-caption").nth(1)).to_have_text("red ball 1")
    assert (data / "datasets" / "pictures-1" / "metadata.csv").is_file()
    watch.assert_clean()


def test_built_in_pictures_are_locked_until_they_are_copied(
    url: str, data: Path, page_watch: tuple[Page, Watch]
) -> None:
    page, watch = page_watch
    page.goto(f"{url}/#dataset", wait_until="commit")
    option = page.locator("#ds-set option", has_text="samples")
    option.wait_for(state="attached")
    page.locator("#ds-set").select_option(option.get_attribute("value"))
    expect(page.locator(".ds-locked")).to_contain_text("These pictures come with Atelier.")
    expect(page.locator("#ds-edit")).to_be_disabled()
    expect(page.get_by_role("button", name="Add pictures")).to_be_hidden()
    page.locator('.ds-cell[data-index="0"]').click()
    expect(page.locator(".ds-text")).to_have_js_property("readOnly", True)
    page.locator(".ds-grid").press("Delete")
    expect(page.locator(".toast")).to_contain_text("These pictures come with Atelier.")
    page.get_by_role("button", name="Copy to my data sets").click()
    expect(page.locator(".toast").last).to_contain_text("Copied to samples")
    expect(page.locator(".ds-locked")).to_be_hidden()
    expect(page.locator(".ds-ground")).to_have_attribute("data-total", "12")

    # what is typed about one's own set is offered: its tags, and the draft's trigger word
    expect(page.locator("#ds-edit")).to_be_enabled()
    page.locator("#ds-search").focus()
    expect(page.locator("#ds-search-tags option").first).to_be_attached()
    assert all(value.startswith("tag:") for value in offered(page, "#ds-search-tags"))
    page.locator("#ds-edit").click()
    page.locator("#ds-edit-kind").select_option("rename")
    expect(page.locator('[data-key="tag"]')).to_have_attribute("list", "ds-edit-tags")
    expect(page.locator("#ds-edit-tags option").first).to_be_attached()
    page.locator("#ds-edit-kind").select_option("trigger")
    expect(page.locator('[data-key="text"]')).to_have_value("wuzzle")
    watch.assert_clean()


def offered(page: Page, place: str) -> list[str]:
    return list(page.locator(place).evaluate("(list) => [...list.options].map((option) => option.value)"))
