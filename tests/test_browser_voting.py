"""Voting in a real browser: what was shown is what is written, nothing is lost, and keys do what they say."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from app.services.preferences.pictures import Pictures
from app.services.preferences.sets import Sets
from tests.browser import Watch, tab
from tests.killable import Killable, killable
from tests.preference_pictures import add
from tests.voters import every_pair
from tests.voting_sets import draw_set
from trainers.preferences.prefset import Prefset, image_id_of

pytestmark = pytest.mark.browser

SHOWN = ".vt-layer[data-shown]"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of the app, with sets that the tests label, one each."""
    data = tmp_path_factory.mktemp("app") / "data"
    sizes = {"keys": (6, 3), "fast": (8, 3), "killed": (6, 3), "away": (4, 2), "views": (4, 3), "end": (2, 2)}
    for name, (prompts, each) in {**sizes, "groups": (2, 4), "phone": (2, 2)}.items():
        draw_set(data / "preferences" / name, prompts, each)
    prefset = Prefset.create(data / "preferences" / "real")
    add(prefset, "a dog", "one"), add(prefset, "a dog", "two")
    every_pair(prefset)
    add(prefset, "a dog", "photo", "real")
    return data


@pytest.fixture(scope="module")
def app(data: Path) -> Iterator[Killable]:
    with killable(data) as app:
        yield app


def begin(page: Page, app: Killable, name: str, person: str = "ann") -> None:
    """Open a set, as somebody whose name the browser knows."""
    page.add_init_script(f"localStorage.setItem('atelier-annotator', {json.dumps(person)})")
    page.goto(f"{app.url}/label/?set={name}", wait_until="commit")
    expect(page.locator(SHOWN)).to_be_visible()


def votes(data: Path, name: str) -> list[dict[str, Any]]:
    file = data / "preferences" / name / "votes.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def votes_of(data: Path, name: str, person: str) -> list[dict[str, Any]]:
    return [vote for vote in votes(data, name) if vote["annotator"] == person]


def settled(page: Page) -> None:
    """Every vote is acknowledged."""
    page.wait_for_function("() => !Object.keys(localStorage).some((key) => key.startsWith('atelier-ballot-'))")


def shown(page: Page) -> dict[str, str]:
    """Key and the addresses of both pictures, as they stand on the page."""
    return dict(
        page.evaluate(
            f"""() => {{
              const layer = document.querySelector('{SHOWN}');
              const token = (side) => layer.querySelector(`[data-side=${{side}}] img`).src.split('/').pop();
              return {{ key: layer.dataset.key, left: token('left'), right: token('right') }};
            }}"""
        )
    )


def press(page: Page, key: str) -> dict[str, str]:
    """Press once the pair is painted; what was shown then. Returns when the next one is there."""
    expect(page.locator("[data-seen] .vt-stage:not([data-waiting])")).to_be_visible()
    before = shown(page)
    page.wait_for_timeout(60)
    page.keyboard.press(key)
    page.wait_for_function("(key) => document.querySelector('.vt-stage').dataset.key !== key", arg=before["key"])
    return before


def of_token(data: Path, name: str, token: str) -> str:
    path, _ = Pictures(Sets(data / "preferences")).shown(name, token, data / "cache")
    return image_id_of(path.read_bytes())


def test_a_name_is_asked_once_and_votes_are_what_was_seen(
    app: Killable, data: Path, page_watch: tuple[Page, Watch]
) -> None:
    page, watch = page_watch
    person = f"ann-{time.time_ns() % 1_000_000}"  # nobody has voted under this name, also when this is tried again
    page.goto(f"{app.url}/label/?set=keys", wait_until="commit")
    page.locator("#vt-name").fill(person)
    page.locator("#vt-name").press("Enter")
    expect(page.locator(SHOWN)).to_be_visible()
    keys = {"1": "left", "ArrowRight": "right", "ArrowDown": "tie", "4": "both_bad", "s": "skip", "ArrowLeft": "left"}
    seen = [(press(page, key), choice) for key, choice in keys.items()]
    settled(page)
    written = votes_of(data, "keys", person)
    prefset = Prefset(data / "preferences" / "keys")
    assert len(written) == len(keys)
    for vote, (pair, choice) in zip(written, seen, strict=True):
        known = prefset.pairs[vote["pair_id"]]
        left, right = (of_token(data, "keys", pair[side]) for side in ("left", "right"))
        assert {left, right} == {known.a, known.b}
        assert left == (known.a if vote["left"] == "a" else known.b)
        chosen = {"a": known.a, "b": known.b}.get(vote["choice"], vote["choice"])
        assert chosen == {"left": left, "right": right}.get(choice, choice)
        assert 40 < vote["ms"] < 60_000
    expect(page.locator(".vt-count")).to_have_text("6 of 18")

    # the last answer is taken back, with the pair as it stood; a reload goes on where it was, and can undo too
    page.keyboard.press("u")
    expect(page.locator(f"{SHOWN}[data-key='{seen[-1][0]['key']}']")).to_be_visible()
    assert shown(page) == seen[-1][0]
    settled(page)
    assert [vote["undo_of"] for vote in votes_of(data, "keys", person)][6:] == [written[-1]["vote_id"]]
    expect(page.locator(".vt-count")).to_have_text("5 of 18")
    page.reload(wait_until="commit")
    expect(page.locator(SHOWN)).to_be_visible()
    expect(page.locator("#vt-name")).to_have_count(0)
    expect(page.locator(".vt-person")).to_have_text(person)
    page.keyboard.press("Control+z")
    expect(page.locator(f"{SHOWN}[data-key='{seen[-2][0]['key']}']")).to_be_visible()
    settled(page)
    assert len([vote for vote in votes_of(data, "keys", person) if vote["undo_of"]]) == 2
    watch.assert_clean()


def test_ten_fast_keys_lose_nothing(app: Killable, data: Path, page_watch: tuple[Page, Watch]) -> None:
    page, watch = page_watch
    begin(page, app, "fast")
    expect(page.locator(".vt-stage:not([data-waiting])")).to_be_visible()
    keys = ["1", "2", "3", "4", "1", "2", "3", "4", "1", "2"]
    for key in keys:
        page.keyboard.press(key)
    expect(page.locator(".vt-count")).to_have_text("10 of 24")
    settled(page)
    written = votes(data, "fast")
    said = ["left" if vote["choice"] == vote["left"] else vote["choice"] for vote in written]
    assert [{"a": "right", "b": "right"}.get(one, one) for one in said] == [
        {"1": "left", "2": "right", "3": "tie", "4": "both_bad"}[key] for key in keys
    ]
    assert len({vote["pair_id"] for vote in written}) == len({vote["vote_id"] for vote in written}) == 10
    watch.assert_clean()


def test_a_killed_server_loses_no_vote(app: Killable, data: Path, page_watch: tuple[Page, Watch]) -> None:
    page, _ = page_watch
    begin(page, app, "killed")
    acknowledged: list[str] = []

    def note(response: Any) -> None:
        if response.url.endswith("/ask/vote") and response.ok:
            acknowledged.append(response.json()["saved"])

    page.on("response", note)
    for _ in range(5):
        press(page, "1")
    app.kill()
    on_disk = [vote["vote_id"] for vote in votes(data, "killed")]
    assert set(acknowledged) <= set(on_disk) and len(on_disk) >= 4

    # votes go on: they wait in the browser, over a reload too, and are written once the server is there again
    page.wait_for_timeout(50)
    for key in ("1", "3"):
        press(page, key)
    expect(page.locator(".vt-late")).to_contain_text("not saved yet")
    app.start()
    page.reload(wait_until="commit")
    expect(page.locator(SHOWN)).to_be_visible()
    settled(page)
    expect(page.locator(".vt-late")).to_be_hidden()
    written = votes(data, "killed")
    assert len(written) == len({vote["vote_id"] for vote in written}) == len({vote["pair_id"] for vote in written}) == 7
    expect(page.locator(".vt-count")).to_have_text("7 of 18")


def test_votes_are_sent_when_the_server_comes_back(app: Killable, data: Path, page_watch: tuple[Page, Watch]) -> None:
    page, _ = page_watch
    begin(page, app, "away")
    page.context.set_offline(True)
    press(page, "2")
    press(page, "1")
    expect(page.locator(".vt-late")).to_have_text("2 votes not saved yet")
    page.context.set_offline(False)
    expect(page.locator(".vt-late")).to_be_hidden()
    settled(page)
    assert len(votes(data, "away")) == 2


def test_keys_with_another_meaning_do_not_vote(app: Killable, data: Path, page_watch: tuple[Page, Watch]) -> None:
    page, watch = page_watch
    begin(page, app, "views")
    expect(page.locator(".vt-stage:not([data-waiting])")).to_be_visible()
    before = shown(page)
    for key in ("Control+1", "Alt+2", "Meta+3", "q", "5", "g"):
        page.keyboard.press(key)
    page.evaluate(
        """() => window.dispatchEvent(new KeyboardEvent('keydown', { key: '1', code: 'Digit1', repeat: true }))"""
    )
    page.locator(".vt-person").click()
    page.locator("#vt-name").fill("")
    page.keyboard.type("bo b1s")
    page.keyboard.press("Escape")
    expect(page.locator("#vt-name")).to_have_count(0)
    page.keyboard.press("?")
    expect(page.locator("dialog .vt-keys")).to_be_visible()
    page.keyboard.press("1")
    page.keyboard.press("Escape")
    settled(page)
    assert votes(data, "views") == []
    assert before["key"]
    watch.assert_clean()


def test_views_and_zoom_are_the_same_for_both(app: Killable, page_watch: tuple[Page, Watch]) -> None:
    page, watch = page_watch
    begin(page, app, "views", "cy")
    stage = page.locator(".vt-stage")
    expect(page.locator(".vt-stage:not([data-waiting])")).to_be_visible()
    sizes = page.evaluate(
        f"() => [...document.querySelectorAll('{SHOWN} img')].map((i) => [i.clientWidth, i.clientHeight])"
    )
    assert sizes[0] == sizes[1] and min(sizes[0]) > 400, "the pictures fill the window"

    transforms = f"() => [...document.querySelectorAll('{SHOWN} img')].map((i) => getComputedStyle(i).transform)"
    page.keyboard.press("z")
    expect(stage).to_have_attribute("data-zoomed", "")
    box = page.locator(f"{SHOWN} [data-side=right]").bounding_box()
    assert box
    page.mouse.move(box["x"] + 200, box["y"] + 200)
    page.mouse.wheel(0, -400)
    page.mouse.down()
    page.mouse.move(box["x"] + 150, box["y"] + 120)
    page.mouse.up()
    one, other = page.evaluate(transforms)
    assert one == other and re.match(r"matrix\(3\.\d+", one), one
    page.keyboard.press("Escape")
    assert page.evaluate(transforms) == ["none", "none"]
    expect(page.locator(".vt")).to_be_visible()

    page.keyboard.down(" ")
    expect(stage).to_have_attribute("data-view", "flicker")
    expect(stage).to_have_attribute("data-front", "right")
    expect(stage).to_have_attribute("data-front", "left")
    page.keyboard.up(" ")
    expect(stage).to_have_attribute("data-view", "")
    page.keyboard.press("d")
    expect(page.locator(".vt-view-note")).to_contain_text("Difference")
    page.keyboard.press("d")

    # scores and seeds are those of the pair before, and there are none before the first vote
    page.keyboard.press("i")
    expect(page.locator(".vt-behind")).to_contain_text("After a vote")
    expect(page.locator("#vt-scores-first")).to_have_count(0)
    press(page, "1")
    expect(page.locator(".vt-behind")).to_contain_text("secret-base")
    page.keyboard.press("Escape")
    expect(page.locator(".vt-drawer")).to_be_hidden()
    before = shown(page)
    page.locator(f"{SHOWN} [data-side=right]").click()
    page.wait_for_function("(key) => document.querySelector('.vt-stage').dataset.key !== key", arg=before["key"])
    settled(page)
    expect(page.locator(".vt-count")).to_have_text("2 of 12")
    watch.assert_clean()


def test_the_end_sums_up_and_can_be_undone(app: Killable, data: Path, page_watch: tuple[Page, Watch]) -> None:
    page, watch = page_watch
    begin(page, app, "end")
    press(page, "1")
    last = shown(page)
    page.wait_for_timeout(60)
    page.keyboard.press("2")
    expect(page.locator(".vt-summary")).to_contain_text("All pairs are answered")
    expect(page.locator(".vt-facts")).to_contain_text("no pair has come again yet")
    expect(page.locator("#vt-train")).to_have_count(0)
    page.keyboard.press("u")
    expect(page.locator(f"{SHOWN}[data-key='{last['key']}']")).to_be_visible()
    expect(page.locator(".vt-summary")).to_be_hidden()
    press(page, "3")
    expect(page.locator(".vt-summary")).to_be_visible()
    settled(page)
    assert [vote["choice"] for vote in votes(data, "end") if not vote["undo_of"]][-1] == "tie"
    page.locator(".vt-summary .button").click()
    expect(page.locator(".label-set", has_text="groups")).to_contain_text("12 pairs")
    watch.assert_clean()


def test_best_and_worst_of_several(app: Killable, data: Path, page_watch: tuple[Page, Watch]) -> None:
    page, watch = page_watch
    begin(page, app, "groups")
    page.keyboard.press("i")
    page.locator("#vt-order").select_option("best_worst")
    page.locator(".vt-drawer .icon-button").click()
    expect(page.locator(f"{SHOWN} .vt-cell")).to_have_count(4)
    expect(page.locator(".vt-stage:not([data-waiting])")).to_be_visible()
    page.wait_for_timeout(100)
    page.keyboard.press("2")
    expect(page.locator(f"{SHOWN} [data-side='2']")).to_have_attribute("data-picked", "best")
    page.keyboard.press("2")  # not this one after all
    expect(page.locator(f"{SHOWN} [data-side='2']")).to_have_attribute("data-picked", "")
    page.keyboard.press("3")
    page.keyboard.press("1")
    expect(page.locator(".vt-count")).to_have_text("1 of 2")
    settled(page)
    assert len(votes(data, "groups")) == 5, "best against three, and two against the worst"
    page.keyboard.press("u")
    expect(page.locator(".vt-count")).to_have_text("0 of 2")
    settled(page)
    assert len(votes(data, "groups")) == 10
    watch.assert_clean()


def test_a_real_picture_is_shown_on_request(app: Killable, page_watch: tuple[Page, Watch]) -> None:
    page, watch = page_watch
    begin(page, app, "real")
    expect(page.locator(".vt-stage:not([data-waiting])")).to_be_visible()
    page.keyboard.press("r")
    expect(page.locator(".vt-reference")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator(".vt-reference")).to_be_hidden()
    watch.assert_clean()


def test_a_phone_has_buttons_that_can_be_hit(app: Killable, data: Path, browser: Browser) -> None:
    with tab(browser, width=390, height=844) as (page, watch):
        begin(page, app, "phone")
        expect(page.locator(".vt-stage:not([data-waiting])")).to_be_visible()
        for name in ("left", "right", "tie", "both_bad", "skip", "undo"):
            box = page.locator(f"[data-act={name}]").bounding_box()
            assert box and box["height"] >= 44 and box["width"] >= 44, name
        assert page.evaluate("() => document.documentElement.scrollWidth") <= 390
        expect(page.locator("[data-act=left]")).to_have_text("Upper", use_inner_text=True)
        upper, lower = (page.locator(f"{SHOWN} [data-side={side}] img").bounding_box() for side in ("left", "right"))
        assert upper and lower and upper["y"] < lower["y"] and upper["width"] == lower["width"] > 280
        page.wait_for_timeout(100)
        page.locator("[data-act=right]").click()
        settled(page)
        (vote,) = votes(data, "phone")
        assert vote["choice"] != vote["left"] and vote["choice"] in ("a", "b")
        watch.assert_clean()
