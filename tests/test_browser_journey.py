"""First journeys in a real browser: the real app over a worker that needs no model."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from tests.browser import Watch, serving_fake, tab

pytestmark = pytest.mark.browser


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """An app with a data folder of its own; its worker steps until it is stopped."""
    with serving_fake(tmp_path / "data") as url:
        yield url


def step_shown(page: Page) -> int:
    """The step in the header of the run that is open; 0 before there is one."""
    text = page.locator(".facts-row dd").first.inner_text()
    return int(text.split("/")[0]) if "/" in text else 0


def wait_for_step(page: Page, step: int) -> None:
    page.wait_for_function(
        "step => parseInt(document.querySelector('.facts-row dd')?.textContent ?? '0') >= step",
        arg=step,
        timeout=60_000,
    )


def accent_pixels(page: Page) -> int:
    """Pixels of the large plot in the colour of its curve: none before there are points."""
    return int(
        page.evaluate(
            """() => {
              const canvas = document.querySelector('.plot.large canvas');
              const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
              const probe = document.createElement('canvas').getContext('2d');
              probe.fillStyle = getComputedStyle(document.body).getPropertyValue('--accent').trim();
              probe.fillRect(0, 0, 1, 1);
              const [r, g, b] = probe.getImageData(0, 0, 1, 1).data;
              let count = 0;
              for (let i = 0; i < data.length; i += 4) {
                count += Math.abs(data[i] - r) + Math.abs(data[i + 1] - g) + Math.abs(data[i + 2] - b) < 30;
              }
              return count;
            }"""
        )
    )


def test_first_run_reload_and_stop(url: str, page_watch: tuple[Page, Watch]) -> None:
    page, watch = page_watch
    page.goto(f"{url}/", wait_until="commit")
    expect(page).to_have_title("Atelier")
    expect(page.locator("#plan-line")).to_contain_text("300 steps")
    expect(page.locator("#plan-line")).to_contain_text("peak about")
    page.locator("#t-start").click()

    wait_for_step(page, 20)
    address = page.url
    assert re.search(r"#runs/\w+$", address)
    assert accent_pixels(page) > 100
    expect(page.locator("#run-chip")).to_be_visible()
    expect(page.locator(".sample img").first).to_be_visible()
    before = step_shown(page)

    page.reload(wait_until="commit")
    wait_for_step(page, before + 20)
    assert page.url == address
    expect(page.locator(".run-detail .state")).to_have_text("Running")

    page.locator('[data-command="pause"]').click()
    expect(page.locator(".run-detail .state")).to_have_text("Paused")
    expect(page.locator(".run-detail .state-icon")).to_have_class(re.compile("state-paused"))
    expect(page.locator("#run-chip")).to_contain_text("Paused")
    expect(page.locator('[data-command="pause"]')).to_have_count(0)
    expect(page.locator('[data-command="resume"]')).to_have_text("Resume")
    page.locator('[data-command="resume"]').click()
    expect(page.locator(".run-detail .state")).to_have_text("Running")

    page.locator('[data-command="stop"]').click()
    expect(page.locator(".run-detail .state")).to_have_text("Stopped", timeout=60_000)
    page.locator('[data-view="files"]').click()
    expect(page.locator(".files .file-name").first).to_contain_text(".safetensors")
    watch.assert_clean()


def test_error_beside_the_field_and_both_forms_agree(url: str, page_watch: tuple[Page, Watch]) -> None:
    page, watch = page_watch
    page.goto(f"{url}/#expert", wait_until="commit")
    expect(page.locator(".at-toml .code")).to_contain_text("learning_rate")  # the draft is in the form
    rate = page.locator("#x-optimizer-learning_rate")
    rate.locator("input").fill("fast")
    rate.locator("input").press("Tab")
    expect(rate.locator(".field-error")).to_contain_text("Give a number")
    page.locator("#x-start").click()
    expect(page.locator(".toast.danger")).to_contain_text("cannot start")
    assert page.url.endswith("#expert")

    rate.locator("input").fill("1e-4")
    rate.locator("input").press("Tab")
    expect(rate.locator(".field-error")).to_have_count(0)
    expect(page.locator(".at-toml .code")).to_contain_text("learning_rate = 0.0001")
    expect(page.locator("#g-optimizer .count")).to_have_text("1")
    rate.hover()
    rate.locator(".field-reset").click()
    expect(rate.locator("input")).to_have_value("auto")

    page.locator("#x-captions-trigger input").fill("zorblax")
    page.locator("#x-captions-trigger input").press("Tab")
    expect(page.locator(".at-toml .code")).to_contain_text('trigger = "zorblax"')
    page.locator("#tab-train-button").click()
    expect(page.locator("#t-captions-trigger input")).to_have_value("zorblax")

    page.locator("#t-data-folder input").fill("/no/such/folder")
    page.locator("#t-data-folder input").press("Tab")
    expect(page.locator("#t-data-folder .field-error")).to_contain_text("There is no folder")
    watch.assert_clean()


def test_search_keys_and_languages(url: str, page_watch: tuple[Page, Watch]) -> None:
    page, watch = page_watch
    page.goto(f"{url}/", wait_until="commit")
    expect(page.locator("#plan-line")).not_to_be_empty()
    page.keyboard.press("g")
    page.keyboard.press("e")
    expect(page.locator("#x-adapter-rank")).to_be_visible()
    page.keyboard.press("/")
    expect(page.locator("#at-search")).to_be_focused()
    page.keyboard.type("network_dim")
    expect(page.locator("#x-adapter-rank")).to_be_visible()
    expect(page.locator("#x-run-seed")).to_be_hidden()
    page.keyboard.press("Escape")
    expect(page.locator("#x-run-seed")).to_be_visible()

    page.locator("#language").click()
    expect(page.locator("#tab-train-button")).to_have_text("训练")
    expect(page.locator("#x-adapter-rank")).to_contain_text("秩")
    page.goto(f"{url}/", wait_until="commit")
    expect(page.locator("#tab-train-button")).to_have_text("训练")  # the choice is kept
    page.locator("#theme").click()
    expect(page.locator("body")).to_have_class(re.compile(r"\bdark\b"))
    watch.assert_clean()


@pytest.mark.parametrize("width", [1400, 390])
def test_dropped_pictures_are_copied_and_shown(url: str, browser: Browser, tmp_path: Path, width: int) -> None:
    files = [tmp_path / name for name in ("红.png", "blue.png", "blue.txt", "notes.pdf")]
    for file, colour in zip(files[:2], ("red", "blue"), strict=True):
        Image.new("RGB", (64, 64), colour).save(file)
    files[2].write_text("a blue square")
    files[3].write_text("")
    with tab(browser, width=width) as (page, watch):
        page.goto(f"{url}/", wait_until="commit")
        expect(page.locator(".at-strip .thumbs img")).to_have_count(4)
        page.locator("#drop-input").set_input_files(files)
        expect(page.locator(".drop-said")).to_contain_text("pictures-1: 2 pictures, 1 caption. Left out 1: notes.pdf")
        expect(page.locator(".at-strip .thumbs img")).to_have_count(2)
        expect(page.locator(".at-strip .found")).to_contain_text("2 pictures found")
        expect(page.locator("#t-data-folder input")).to_have_value(re.compile(r"datasets.pictures-1$"))
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.locator("#drop-input").set_input_files(files[3])
        expect(page.locator(".drop-said.danger")).to_contain_text("There is no picture but notes.pdf")
        watch.assert_clean()
    copies = {file.name: file.read_bytes() for file in (tmp_path / "data/datasets/pictures-1").iterdir()}
    assert copies == {file.name: file.read_bytes() for file in files[:3]}


def test_files_can_be_dragged_to_the_zone(url: str, page_watch: tuple[Page, Watch]) -> None:
    page, watch = page_watch
    page.goto(f"{url}/", wait_until="commit")
    expect(page.locator(".at-strip .thumbs img")).to_have_count(4)
    page.evaluate(
        """async () => {
          const canvas = Object.assign(document.createElement('canvas'), { width: 32, height: 32 });
          canvas.getContext('2d');
          const picture = await new Promise((done) => canvas.toBlob(done));
          const data = new DataTransfer();
          data.items.add(new File([picture], 'one.png'));
          data.items.add(new File(['a square'], 'one.txt'));
          const zone = document.querySelector('.drop');
          for (const name of ['dragover', 'drop']) {
            zone.dispatchEvent(new DragEvent(name, { dataTransfer: data, bubbles: true, cancelable: true }));
          }
        }"""
    )
    expect(page.locator(".drop-said")).to_contain_text("pictures-1: 1 picture, 1 caption")
    expect(page.locator(".at-strip .thumbs img")).to_have_count(1)
    watch.assert_clean()
