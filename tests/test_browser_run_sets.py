"""Further data sets of a run, room on disk and uploads, by mouse in a real browser."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser import Watch, serving_fake
from tests.checks import add_picture

pytestmark = pytest.mark.browser

DAY_S = 86_400
SETS = {"wuzzles": 3, "style photos": 4, "other animals": 2}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of the app, with three data sets, and encoded pictures of now and of 40 days ago."""
    data = tmp_path_factory.mktemp("app") / "data"
    for name, count in SETS.items():
        for number in range(count):
            add_picture(data / "datasets" / name / f"{number}.png", caption="a wuzzle")
    for file in latents(data):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x" * 2**20)
    os.utime(latents(data)[0], (time.time() - 40 * DAY_S,) * 2)
    return data


def latents(data: Path) -> list[Path]:
    return [data / "cache" / "latents" / f"{name}.safetensors" for name in ("old", "new")]


@pytest.fixture(scope="module")
def url(data: Path) -> Iterator[str]:
    with serving_fake(data) as url:
        yield url


def choose(page: Page, name: str) -> None:
    option = page.locator("#ds-set option", has_text=name)
    option.wait_for(state="attached")
    page.locator("#ds-set").select_option(option.get_attribute("value"))
    expect(page.locator(".ds-ground")).to_have_attribute("data-total", str(SETS[name]))
    expect(page.locator(".ds-filter").first).to_contain_text(str(SETS[name]))


def go(page: Page, name: str) -> None:
    page.locator(f"#tab-{name}-button").click()


def test_sets_join_the_run_and_leave_it(url: str, data: Path, page_watch: tuple[Page, Watch]) -> None:
    page, watch = page_watch
    page.goto(f"{url}/#dataset", wait_until="commit")
    choose(page, "wuzzles")
    page.locator("#ds-train").click()
    expect(page.locator(".found")).to_have_text("3 pictures found")
    go(page, "dataset")
    expect(page.locator("#ds-add-to-run")).to_be_disabled()  # it is the run's folder
    choose(page, "style photos")
    page.locator("#ds-add-to-run").click()
    expect(page.locator(".toast")).to_contain_text("style photos is in the run now.")
    expect(page.locator(".ds-layout")).to_contain_text("a further data set of the run")
    expect(page.locator("#ds-add-to-run")).to_be_disabled()
    choose(page, "other animals")
    page.locator("#ds-add-regularisation").click()
    expect(page.locator(".ds-layout")).to_contain_text("regularisation of the run")
    expect(page.locator("#ds-add-to-run")).to_be_enabled()

    go(page, "train")
    rows = page.locator(".run-set")
    expect(rows).to_contain_text(["style photos4 pictures", "other animalsregularisation2 pictures"])
    expect(page.locator(".found")).to_have_text("9 pictures found")
    animals = data / "datasets" / "other animals"
    go(page, "expert")
    lines = page.locator("#x-data-sets textarea")
    expect(lines).to_have_value(f"'{data / 'datasets' / 'style photos'}'\n'{animals}' regularisation=true")
    lines.fill(f"'{animals}' repeats=2 regularisation=true")
    lines.blur()
    go(page, "train")
    expect(rows).to_have_text(["other animalsregularisation2 pictures, repeats 2\u00d7"])
    page.get_by_role("button", name="Take other animals out of the run").click()
    expect(rows).to_have_count(0)
    expect(page.locator(".found")).to_have_text("3 pictures found")
    watch.assert_clean()


def test_room_is_freed_after_it_was_shown(url: str, data: Path, page_watch: tuple[Page, Watch]) -> None:
    page, watch = page_watch
    old, new = latents(data)
    page.goto(f"{url}/#dataset", wait_until="commit")
    expect(page.locator(".storage")).to_contain_text("Cache: ")
    page.locator("#storage-free").click()
    dialog = page.locator("dialog[open]")
    expect(dialog.locator("tr", has_text="Encoded pictures")).to_contain_text("2 MB2today")
    expect(dialog.locator("label", has_text="Not used for 30 days")).to_contain_text("1 MB, 1 file")
    dialog.get_by_role("button", name="Free up").click()
    expect(page.locator(".toast")).to_contain_text("Freed 1 MB, 1 file.")
    assert new.exists() and not old.exists()
    page.locator("#storage-free").click()
    expect(dialog.get_by_role("button", name="Free up")).to_be_disabled()  # nothing is that old
    dialog.get_by_label("Everything").click()
    dialog.get_by_role("button", name="Free up").click()
    expect(page.locator(".toast").last).to_contain_text("files.")
    assert not new.exists()
    expect(page.locator("#storage-free")).to_be_hidden()
    watch.assert_clean()


def test_an_upload_shows_how_far_it_is(url: str, tmp_path: Path, page_watch: tuple[Page, Watch]) -> None:
    page, watch = page_watch
    page.goto(f"{url}/#dataset", wait_until="commit")
    page.locator(".ds-set").get_by_role("button", name="New", exact=True).click()
    page.evaluate(
        """() => {
          window.seen = [];
          const bar = document.querySelector('.dialog .drop-box .bar');
          const said = document.querySelector('.dialog .drop-said');
          const note = () => window.seen.push([Number(bar.getAttribute('aria-valuenow')), said.textContent]);
          new MutationObserver(note).observe(bar, { attributes: true, attributeFilter: ['aria-valuenow'] });
        }"""
    )
    slow = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 8 * 2**20}
    page.context.new_cdp_session(page).send("Network.emulateNetworkConditions", slow)
    large = tmp_path / "large.png"
    add_picture(large, size=(2100, 2100))  # of noise: more than 12 MB
    page.locator("#ds-drop").set_input_files(large)
    expect(page.locator(".toast")).to_contain_text("1 picture")
    seen = page.evaluate("window.seen")
    between = [said for percent, said in seen if 5 < percent < 95]
    assert len(between) >= 3, seen
    assert all(said.startswith("Copying 1 of 1: large.png (") and said.endswith(" / 13 MB)") for said in between), seen
    watch.assert_clean()
