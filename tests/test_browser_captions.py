"""Journeys through captioning in a real browser, with the real worker and the captioner of the sandbox."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser import Watch, serving_fake, tab
from trainers.sandbox import scenes

pytestmark = pytest.mark.browser

PICTURES = 20
OLD = "an old caption of two objects"
LOADING_MS = 60_000  # a process that imports its libraries on a busy machine


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of the app."""
    return tmp_path_factory.mktemp("app") / "data"


@pytest.fixture(scope="module")
def url(data: Path) -> Iterator[str]:
    """The app; training is done by a worker that steps until it is stopped."""
    with serving_fake(data) as url:
        yield url


def draw_scenes(folder: Path, count: int = PICTURES, captioned: int = 2) -> None:
    """Drawn scenes; the first ones have a caption."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(7)
    for number in range(count):
        scenes.draw(scenes.sample_scene(rng)).save(folder / f"s{number:02}.png")
        if number < captioned:
            (folder / f"s{number:02}.txt").write_text(OLD)


def captions(folder: Path) -> dict[str, str]:
    return {file.stem: file.read_text().rstrip("\n") for file in sorted(folder.glob("*.txt"))}


def open_set(page: Page, address: str, name: str) -> None:
    page.goto(f"{address}/#captions", wait_until="commit")
    page.locator("#cp-set option", has_text=name).wait_for(state="attached")
    page.locator("#cp-set").select_option(label=name)


def cell(page: Page, index: int) -> Locator:
    return page.locator(f'.at-captions .ds-cell[data-index="{index}"]')


def written(page: Page) -> Locator:
    return page.locator('.cp-badge[data-status="written"]')


def state(page: Page) -> Locator:
    return page.locator(".cp-job .state")


def test_captions_are_tried_written_stopped_continued_edited_and_undone(
    url: str, data: Path, page_watch: tuple[Page, Watch]
) -> None:
    page, watch = page_watch
    folder = data / "datasets" / "scenes"
    draw_scenes(folder)
    before = {"s00": OLD, "s01": OLD}
    open_set(page, url, "scenes")
    expect(page.locator("#cp-pictures .cp-counts")).to_have_text("20 pictures, 18 without caption")
    expect(page.locator("#cp-start")).to_have_text("Caption 18 pictures")
    page.locator("#cp-policy-existing").select_option("replace")
    page.locator("#cp-captioner-batch_size").fill("1")
    page.locator("#cp-captioner-batch_size").press("Tab")
    expect(page.locator("#cp-start")).to_have_text("Caption 20 pictures")

    # a fault stands beside its field, and nothing can start
    page.locator("#cp-captioner-batch_size").fill("none")
    expect(page.locator('[data-path="captioner.batch_size"] .field-error')).to_contain_text("cannot be used")
    expect(page.locator("#cp-start")).to_be_disabled()
    page.locator("#cp-captioner-batch_size").fill("1")
    expect(page.locator("#cp-start")).to_be_enabled()

    # three pictures first, with what would change; nothing is written
    page.locator("#cp-try").click()
    expect(page.locator(".cp-result .cp-diff")).to_have_count(3, timeout=LOADING_MS)
    expect(page.locator(".cp-result").first).to_contain_text(OLD)
    expect(page.locator("#cp-try")).to_be_enabled()
    tried = page.locator(".cp-result").nth(2).locator(".cp-diff-after span").inner_text()
    assert captions(folder) == before

    # captions appear on the pictures; stopped in the middle
    page.locator("#cp-start").click()
    expect(written(page).nth(2)).to_be_visible(timeout=LOADING_MS)
    expect(cell(page, 0).locator(".ds-caption")).not_to_have_text(OLD)
    page.locator("#cp-stop").click()
    expect(state(page)).to_have_text("Stopped", timeout=LOADING_MS)
    some = captions(folder)
    assert 3 <= len(some) < PICTURES
    assert OLD not in some.values() and some["s02"] == tried
    expect(page.locator(".cp-job .cp-written")).to_have_text(f"written {len(some)}")

    # the page is loaded anew: settings, job and captions are there, and the job goes on where it stopped
    page.reload(wait_until="commit")
    expect(state(page)).to_have_text("Stopped")
    expect(page.locator("#cp-policy-existing")).to_have_value("replace")
    expect(page.locator("#cp-captioner-batch_size")).to_have_value("1")
    expect(cell(page, 0).locator(".cp-badge")).to_have_text("Written")
    page.locator("#cp-resume").click()
    expect(state(page)).to_have_text("Done", timeout=LOADING_MS)
    expect(page.locator(".cp-job .cp-written")).to_have_text("written 20")
    everything = captions(folder)
    assert len(everything) == PICTURES and {name: everything[name] for name in some} == some

    # one by hand: counted, told from the old text, and marked as edited
    cell(page, 1).click()
    expect(page.locator(".cp-changed .cp-diff")).to_contain_text(OLD)
    expect(page.locator(".ds-token").first).to_contain_text("of")
    expect(page.locator(".ds-facts")).to_contain_text("Sandbox captioner")
    page.locator(".ds-text").fill("my own words")
    page.locator(".ds-text").press("ControlOrMeta+s")
    expect(page.locator(".ds-state")).to_have_text("Saved")
    expect(cell(page, 1).locator(".ds-caption")).to_have_text("my own words")
    expect(page.locator(".ds-facts")).to_contain_text("edited by hand")
    assert captions(folder) == {**everything, "s01": "my own words"}

    # the whole job back at once; what a person wrote stays and is told
    page.locator("#cp-undo").click()
    toast = page.locator(".toast").last
    expect(toast).to_contain_text("19 files back as before the job. 1 left alone, as s01.txt")
    assert captions(folder) == {"s00": OLD, "s01": "my own words"}
    expect(cell(page, 0).locator(".ds-caption")).to_have_text(OLD)
    expect(page.locator("#cp-pictures .cp-counts")).to_have_text("20 pictures, 18 without caption")
    toast.get_by_role("button", name="Do it again").click()
    expect(page.locator(".toast").last).to_contain_text("as the job wrote them")
    assert captions(folder) == {**everything, "s01": "my own words"}

    # the job among the runs
    page.locator(".cp-job").get_by_role("button", name="Log and configuration").click()
    expect(page.locator(".facts-row dd").first).to_have_text("20 / 20")
    expect(page.locator(".run-detail .charts")).to_be_hidden()
    expect(page.locator(".run-row").first).to_contain_text("20 / 20 pictures")
    page.get_by_role("button", name="Open in Caption").click()
    page.wait_for_url("**/#captions")
    expect(page.locator("#cp-set option:checked")).to_have_text("scenes")
    watch.assert_clean()


def test_from_a_finding_to_captions_to_training(url: str, data: Path, page_watch: tuple[Page, Watch]) -> None:
    page, watch = page_watch
    scenes.draw(scenes.sample_scene(np.random.default_rng(3))).save(data / "pictures" / "2.png")
    (data / "pictures" / "2.txt").unlink()
    page.goto(f"{url}/", wait_until="commit")
    missing = page.locator(".checks li", has_text="1 picture without caption")
    missing.get_by_role("button", name="Caption for me").click()
    page.wait_for_url("**/#captions")
    expect(page.locator("#cp-set option:checked")).to_have_text("pictures")
    expect(page.locator("#cp-policy-existing")).to_have_value("fill")
    expect(page.locator("#cp-start")).to_have_text("Caption 1 picture")
    page.locator("#cp-train").check()
    page.locator("#cp-start").click()
    expect(page.locator(".toast").last).to_contain_text("training waits behind it")
    expect(state(page)).to_have_text("Done", timeout=LOADING_MS)
    expect(page.locator(".cp-job .cp-written")).to_have_text("written 1")
    assert captions(data / "pictures").keys() == {"0", "1", "2", "3"}
    assert captions(data / "pictures")["1"] == "a wuzzle"
    page.locator("#tab-runs-button").click()
    page.locator(".run-row").first.click()  # the newest: the run that was queued behind the job
    expect(page.locator(".run-detail .charts")).to_be_visible()
    expect(page.locator(".run-detail .state")).to_have_text("Running", timeout=LOADING_MS)
    page.locator('[data-command="stop"]').click()  # a worker outlives its app
    expect(page.locator(".run-detail .state")).to_have_text("Stopped", timeout=LOADING_MS)
    watch.assert_clean()


@pytest.mark.parametrize("width", [1400, 700])
def test_nothing_stands_out_of_the_page_in_chinese(url: str, data: Path, browser: Browser, width: int) -> None:
    folder = data / "datasets" / f"wide-{width}"
    draw_scenes(folder, 4)
    with tab(browser, width=width, dark=True) as (page, watch):
        open_set(page, f"{url}/zh", folder.name)
        expect(page.locator("#cp-start")).to_contain_text("标注 2 张图片")
        for family in ("joycaption", "wd", "server", "sandbox"):
            page.locator(f'[data-family="{family}"]').click()
            expect(page.locator(f'[data-family="{family}"]')).to_have_attribute("aria-checked", "true")
            expect(page.locator('[data-path="policy.existing"]')).to_contain_text("已有的标注")
            assert page.evaluate("document.documentElement.scrollWidth") <= width
        for fold in page.locator(".at-captions summary").all():
            if fold.is_visible():
                fold.click()
        page.locator("#cp-start").click()
        expect(state(page)).to_have_text("已完成", timeout=LOADING_MS)
        cell(page, 3).click()
        expect(page.locator(".ds-facts")).to_contain_text("提问")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        shown = page.locator("#rail .at-captions").inner_text()
        assert not re.findall(r"\b(?:captioning|caption|dataset|models|run|state|phase)\.\w+", shown)
        page.locator("#cp-undo").click()
        expect(page.locator(".toast").last).to_contain_text("2 个文件已恢复到任务之前")
        assert captions(folder) == {"s00": OLD, "s01": OLD}
        watch.assert_clean()
