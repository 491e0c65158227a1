"""Journeys through the data sets in a real browser: pictures come in, captions are put right, a run starts on them."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser import EXPECT_MS, Watch, serving_fake, tab

pytestmark = pytest.mark.browser


NUMBERS = itertools.count(1)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of the app."""
    return tmp_path_factory.mktemp("app") / "data"


@pytest.fixture(scope="module")
def url(data: Path) -> Iterator[str]:
    """One app for all tests of this file; its worker steps until it is stopped."""
    with serving_fake(data) as url:
        yield url


@pytest.fixture
def mine(data: Path) -> Path:
    """The folder of a data set that no other test has."""
    return data / "datasets" / f"set-{next(NUMBERS):02}"


def make(folder: Path, count: int, *, bare: tuple[int, ...] = ()) -> list[Path]:
    """Pictures of many colours with captions of three tags; those in `bare` have no caption."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        colour = (number * 37 % 256, number * 91 % 256, number * 11 % 256)
        Image.new("RGB", (64, 64), colour).save(folder / f"p{number:04}.png")
        if number not in bare:
            (folder / f"p{number:04}.txt").write_text(f"a wuzzle, red ball, number {number}")
    return sorted(folder.iterdir())


def open_set(page: Page, url: str, name: str, count: int) -> None:
    page.goto(f"{url}/#dataset", wait_until="commit")
    choose(page, name, count)


def choose(page: Page, name: str, count: int) -> None:
    page.locator("#ds-set option", has_text=name).wait_for(state="attached")
    value = page.locator("#ds-set option", has_text=name).get_attribute("value")
    page.locator("#ds-set").select_option(value)
    expect_total(page, count)
    expect(page.locator(".ds-line .bar")).to_be_hidden()  # all is read


def expect_total(page: Page, count: int) -> None:
    expect(page.locator(".ds-ground")).to_have_attribute("data-total", str(count))


def cell(page: Page, index: int) -> Locator:
    return page.locator(f'.ds-cell[data-index="{index}"]')


def wait_for_text(file: Path, text: str) -> None:
    due = time.monotonic() + EXPECT_MS / 1000
    while file.read_text().strip() != text:
        assert time.monotonic() < due, file.read_text()
        time.sleep(0.02)


def captions(folder: Path) -> dict[str, str]:
    return {file.stem: file.read_text() for file in sorted(folder.glob("*.txt"))}


def replace_everywhere(page: Page, find: str, by: str) -> None:
    page.locator("#ds-edit").click()
    page.locator('[data-key="find"]').fill(find)
    page.locator('[data-key="with"]').fill(by)
    expect(page.locator(".ds-example ins").first).to_be_visible()
    page.get_by_role("button", name="Apply").click()


def test_from_dropped_pictures_to_a_run(url: str, data: Path, tmp_path: Path, page_watch: tuple[Page, Watch]) -> None:
    page, watch = page_watch
    files = make(tmp_path / "mine", 20, bare=(7,))
    page.goto(f"{url}/#dataset", wait_until="commit")
    page.locator(".ds-set").get_by_role("button", name="New", exact=True).click()
    page.locator("#ds-name").fill("wuzzles")
    page.locator("#ds-drop").set_input_files(files)
    expect(page.locator(".toast")).to_contain_text("Added to wuzzles: 20 pictures, 19 captions")
    expect_total(page, 20)
    folder = data / "datasets" / "wuzzles"

    # the check before a run finds the missing caption and leads to it
    page.locator("#ds-train").click()
    expect(page.locator("#t-data-folder input")).to_have_value(re.compile(r"datasets.wuzzles$"))
    missing = page.locator(".checks li", has_text="1 picture without caption")
    missing.get_by_role("button", name="Show in Data").click()
    expect(page.locator('[data-filter="no_caption"]')).to_have_attribute("aria-pressed", "true")
    expect_total(page, 1)
    cell(page, 0).click()
    expect(page.locator(".ds-panel-head strong")).to_have_text("p0007.png")
    page.locator(".ds-grid").press("Enter")
    page.keyboard.type("a wuzzle, red ball, number 7")
    page.keyboard.press("Control+s")
    expect(page.locator(".ds-state")).to_have_text("Saved")
    assert (folder / "p0007.txt").read_text().strip() == "a wuzzle, red ball, number 7"
    expect(page.locator('[data-filter="no_caption"]')).to_contain_text("0")
    page.locator('.ds-filter[data-filter=""]').click()
    expect_total(page, 20)

    # many captions at once, seen before they are written, and taken back
    before = captions(folder)
    replace_everywhere(page, "red ball", "blue cube")
    expect(page.locator(".toast").last).to_contain_text("red ball > blue cube. 20 files")
    assert all("blue cube" in text for text in captions(folder).values())
    expect(cell(page, 0).locator(".ds-caption")).to_have_text("a wuzzle, blue cube, number 0")
    page.locator(".toast").last.get_by_role("button", name="Undo").click()
    expect(page.locator(".toast").last).to_contain_text("Undone")
    assert captions(folder) == before
    page.reload(wait_until="commit")
    expect_total(page, 20)
    expect(cell(page, 0).locator(".ds-caption")).to_have_text("a wuzzle, red ball, number 0")
    expect(page.locator("#ds-redo")).to_be_enabled()
    assert captions(folder) == before

    page.locator("#ds-train").click()
    expect(missing).to_have_count(0)
    expect(page.locator("#plan-line")).to_contain_text("300 steps")
    page.locator("#t-start").click()
    page.wait_for_url(re.compile(r"#runs/\w+$"))
    expect(page.locator(".run-detail .state")).to_have_text("Running", timeout=60_000)
    page.locator('[data-command="stop"]').click()  # a worker outlives its app
    expect(page.locator(".run-detail .state")).to_have_text("Stopped", timeout=60_000)
    watch.assert_clean()


def test_two_thousand_pictures_scroll_with_few_nodes(url: str, data: Path, page_watch: tuple[Page, Watch]) -> None:
    page, watch = page_watch
    make(data / "datasets" / "many", 2000)
    page.goto(f"{url}/#dataset", wait_until="commit")
    page.locator("#ds-set option", has_text="many").wait_for(state="attached", timeout=60_000)
    page.locator("#ds-set").select_option(page.locator("#ds-set option", has_text="many").get_attribute("value"))
    expect(page.locator(".ds-ground")).to_have_attribute("data-total", "2000", timeout=60_000)
    seen = 0
    for part in (0.25, 0.5, 0.75, 1):
        page.locator(".ds-grid").evaluate("(grid, part) => { grid.scrollTop = grid.scrollHeight * part; }", part)
        page.wait_for_timeout(150)
        seen = max(seen, page.locator(".ds-cell").count())
    expect(cell(page, 1999).locator(".ds-caption")).to_have_text("a wuzzle, red ball, number 1999")
    expect(cell(page, 1999)).to_be_in_viewport()
    page.wait_for_function("() => document.querySelector('.ds-cell[data-index=\"1999\"] img').naturalWidth > 0")
    assert 0 < seen < 80
    page.locator(".ds-grid").press("Home")
    expect(page.locator(".ds-panel-head strong")).to_have_text("p0000.png")
    page.locator(".ds-grid").press("Control+a")
    expect(page.locator(".ds-selection b")).to_have_text("2000 selected")
    watch.assert_clean()


def test_a_caption_that_changed_on_disk_is_never_written_over(
    url: str, mine: Path, page_watch: tuple[Page, Watch]
) -> None:
    page, watch = page_watch
    make(mine, 3)
    open_set(page, url, mine.name, 3)
    cell(page, 1).click()
    text = page.locator(".ds-text")
    expect(text).to_have_value("a wuzzle, red ball, number 1")
    (mine / "p0001.txt").write_text("somebody else")
    text.fill("my own words")
    text.press("Control+s")
    expect(page.locator(".ds-conflict")).to_contain_text("somebody else")
    expect(text).to_have_value("my own words")
    assert (mine / "p0001.txt").read_text() == "somebody else"

    # elsewhere and back: both texts are still there
    cell(page, 2).click()
    expect(page.locator(".ds-panel-head strong")).to_have_text("p0002.png")
    cell(page, 1).click()
    expect(text).to_have_value("my own words")
    expect(page.locator(".ds-conflict")).to_contain_text("somebody else")
    assert (mine / "p0001.txt").read_text() == "somebody else"
    page.get_by_role("button", name="Keep mine").click()
    expect(page.locator(".ds-state")).to_have_text("Saved")
    assert (mine / "p0001.txt").read_text().strip() == "my own words"
    watch.assert_clean()


def test_keys_select_edit_and_delete_and_stay_out_of_text(url: str, mine: Path, page_watch: tuple[Page, Watch]) -> None:
    page, watch = page_watch
    make(mine, 12)
    open_set(page, url, mine.name, 12)
    grid, selection = page.locator(".ds-grid"), page.locator(".ds-selection b")
    cell(page, 2).click()
    cell(page, 5).click(modifiers=["Shift"])
    expect(selection).to_have_text("4 selected")
    cell(page, 4).click(modifiers=["ControlOrMeta"])
    expect(selection).to_have_text("3 selected")
    grid.press("ArrowRight")
    expect(page.locator(".ds-selection")).to_be_hidden()
    expect(page.locator(".ds-panel-head strong")).to_have_text("p0005.png")

    grid.press("Enter")
    expect(page.locator(".ds-text")).to_be_focused()
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.press("Delete")  # letters, no picture
    expect(page.locator("dialog[open]")).to_have_count(0)
    page.keyboard.type("gd new words")  # no key of the page
    page.keyboard.press("ControlOrMeta+Enter")  # saves, and on to the next picture
    expect(page.locator(".ds-panel-head strong")).to_have_text("p0006.png")
    expect(page.locator(".ds-text")).to_be_focused()
    wait_for_text(mine / "p0005.txt", "gd new words")  # the page does not wait for it
    page.keyboard.press("Escape")
    expect(grid).to_be_focused()

    grid.press("Delete")
    expect(page.locator("dialog[open]")).to_contain_text("Move 1 picture to the trash?")
    page.locator("dialog[open]").get_by_role("button", name="Move to trash").click()
    expect_total(page, 11)
    assert not (mine / "p0006.png").exists() and not (mine / "p0006.txt").exists()
    grid.press("ControlOrMeta+z")
    expect_total(page, 12)
    assert (mine / "p0006.png").exists() and (mine / "p0006.txt").exists()
    watch.assert_clean()


def test_tags_filter_and_are_renamed_everywhere(url: str, mine: Path, page_watch: tuple[Page, Watch]) -> None:
    page, watch = page_watch
    make(mine, 6)
    (mine / "p0000.txt").write_text("a wuzzle, hat")
    open_set(page, url, mine.name, 6)
    page.locator("#ds-tags").click()
    row = page.locator(".ds-tag", has_text="hat")
    expect(page.locator(".ds-tag").first).to_contain_text("a wuzzle6")
    row.locator(".ds-tag-name").click()
    expect_total(page, 1)
    row.locator(".ds-tag-name").click()
    expect_total(page, 6)
    row.hover()
    row.get_by_role("button", name="Rename hat everywhere").click()
    page.locator('[data-key="to"]').fill("red hat")
    expect(page.locator(".ds-example")).to_have_count(1)
    page.get_by_role("button", name="Apply").click()
    expect(page.locator(".ds-tag", has_text="red hat")).to_have_count(1)
    assert (mine / "p0000.txt").read_text().strip() == "a wuzzle, red hat"

    # chips of one caption: taken away, and moved by keys
    cell(page, 1).click()
    page.locator(".ds-chip", has_text="red ball").get_by_role("button").click()
    expect(page.locator(".ds-text")).to_have_value("a wuzzle, number 1")
    page.locator(".ds-chip", has_text="number 1").press("ArrowLeft")
    expect(page.locator(".ds-text")).to_have_value("number 1, a wuzzle")
    expect(page.locator(".ds-state")).to_have_text("Saved")
    assert (mine / "p0001.txt").read_text().strip() == "number 1, a wuzzle"
    watch.assert_clean()


def test_unreadable_files_are_listed_with_the_cause_and_can_go(
    url: str, mine: Path, page_watch: tuple[Page, Watch]
) -> None:
    page, watch = page_watch
    make(mine, 3)
    (mine / "z.png").write_text("no picture")
    (mine / "lost.txt").write_text("a caption of nothing")
    open_set(page, url, mine.name, 3)
    expect(page.locator(".ds-layout")).to_contain_text("1 caption without a picture: lost.txt")
    page.locator('[data-filter="bad"]').click()
    rows = page.locator(".ds-bad-row")
    expect(rows).to_have_text([re.compile("^z.png"), "lost.txt"])
    rows.get_by_role("button", name="Move to trash").click()
    page.locator("dialog[open]").get_by_role("button", name="Move to trash").click()
    expect(rows).to_have_text(["lost.txt"])
    assert not (mine / "z.png").exists()
    watch.assert_clean()


def test_an_added_folder_is_shown_where_it_lies(url: str, tmp_path: Path, page_watch: tuple[Page, Watch]) -> None:
    page, watch = page_watch
    make(tmp_path / "elsewhere" / "10_dog", 4)
    page.goto(f"{url}/#dataset", wait_until="commit")
    page.get_by_role("button", name="Add a folder").click()
    path = page.locator("dialog[open] input")
    path.fill(str(tmp_path))
    path.press("Enter")
    page.locator(".ds-folders .ds-folder", has_text="elsewhere").click()
    expect(path).to_have_value(str(tmp_path / "elsewhere"))
    page.get_by_role("button", name="Use this folder").click()
    expect(page.locator("#ds-set option:checked")).to_contain_text("elsewhere")
    expect(page.locator(".ds-layout")).to_contain_text("kohya folders: 1 concept, 4 pictures")
    page.get_by_role("button", name="Take out of the list").click()
    page.locator("dialog[open]").get_by_role("button", name="Take out of the list").click()
    expect(page.locator("#ds-set option", has_text="elsewhere")).to_have_count(0)
    assert len(list((tmp_path / "elsewhere").rglob("*.png"))) == 4
    watch.assert_clean()


def test_a_chosen_folder_keeps_its_folders_and_files_can_be_let_go_over_the_grid(
    url: str, data: Path, tmp_path: Path, page_watch: tuple[Page, Watch]
) -> None:
    page, watch = page_watch
    make(tmp_path / "photos" / "10_wuzzle", 2)
    make(tmp_path / "photos" / "3_other", 1)
    page.goto(f"{url}/#dataset", wait_until="commit")
    page.locator(".ds-set").get_by_role("button", name="New", exact=True).click()
    page.locator("#ds-drop-folder").set_input_files(tmp_path / "photos")
    expect(page.locator(".ds-layout")).to_contain_text("kohya folders: 2 concepts, 3 pictures")
    assert (data / "datasets" / "pictures-1" / "10_wuzzle" / "p0001.txt").is_file()

    page.evaluate(
        """async () => {
          const canvas = Object.assign(document.createElement('canvas'), { width: 32, height: 32 });
          canvas.getContext('2d');
          const picture = await new Promise((done) => canvas.toBlob(done));
          const data = new DataTransfer();
          data.items.add(new File([picture], 'one.png'));
          const main = document.querySelector('.ds-main');
          for (const name of ['dragover', 'drop']) {
            main.dispatchEvent(new DragEvent(name, { dataTransfer: data, bubbles: true, cancelable: true }));
          }
        }"""
    )
    expect_total(page, 4)
    assert (data / "datasets" / "pictures-1" / "one.png").is_file()
    watch.assert_clean()


@pytest.mark.parametrize("width", [1400, 1000, 420])
def test_nothing_stands_out_of_the_page_in_either_language(url: str, mine: Path, browser: Browser, width: int) -> None:
    make(mine, 5, bare=(0,))
    with tab(browser, width=width) as (page, watch):
        page.goto(f"{url}/zh/#dataset", wait_until="commit")
        choose(page, mine.name, 5)
        cell(page, 0).click()
        page.locator("#ds-tags").click()
        page.locator("#ds-buckets").click()
        expect(page.locator("#tab-dataset-button")).to_have_text("数据")
        expect(page.locator('[data-filter="no_caption"]')).to_contain_text("没有标注")
        expect(page.locator(".ds-panel")).to_contain_text("标注")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        shown = page.locator("#rail .at-dataset").inner_text()
        assert not re.findall(r"\b(?:dataset|filter|edit)\.\w+", shown)  # every text has its words
        watch.assert_clean()
