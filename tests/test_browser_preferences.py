"""Journeys through preferences in a real browser, with the real workers, the sandbox and its scorer."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from app.monitoring.metrics import PAIR_FIELDS
from tests.browser import Watch, serving_fake, tab
from tests.preference_sets import build, make_comparison, make_set, score, vote
from trainers import resolve
from trainers.events import Event, PhaseChanged, PicturesMade, RunFinished, StepDone, Warned
from trainers.machine import Machine
from trainers.preferences.pairing import Rule
from trainers.preferences.prefset import Prefset
from trainers.rundir import EventLog, RunDir

pytestmark = pytest.mark.browser

MACHINE = Machine("cpu", "test processor", 8.0, 8.0, 2, bf16=False)
LOADING_MS = 120_000  # a process that imports its libraries on a busy machine


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of the app, with one set that is labelled."""
    folder = tmp_path_factory.mktemp("app") / "data"
    labelled = make_set(folder / "preferences" / "labelled", prompts=12)
    score(labelled)
    score(labelled, "other", sign=-1.0)
    build(labelled, Rule("all", margin=0.2))
    pairs = list(labelled.pairs.values())
    vote(labelled, "ann", pairs[:24])
    vote(labelled, "bob", pairs[:12])
    leave_training(RunDir(folder / "runs" / "trained"), labelled)
    leave_comparison(RunDir(folder / "runs" / "compared"), folder)
    return folder


def leave(run: RunDir, events: list[Event]) -> None:
    """What a worker that has ended leaves."""
    log = EventLog(run)
    for event in [PhaseChanged("preparing"), *events]:
        log.emit(event)
    log.close()
    run.worker.write_text(json.dumps({"pid": 1, "started": 1, "heartbeat": 1, "exit_code": 0}))


def leave_training(run: RunDir, prefset: Prefset) -> None:
    values = {"objective": {"kind": "dpo", "pairs": str(prefset.folder)}, "run": {"name": "trained"}}
    run.create(resolve.dump(resolve.resolve(resolve.validate(values), MACHINE)))
    (run.path / "trained.safetensors").write_bytes(b"an adapter")
    metrics = dict.fromkeys(PAIR_FIELDS, 0.5)
    steps: list[Event] = [StepDone(number, 0.6, 1e-4, 1.0, 0.1, 1.0, metrics) for number in range(1, 21)]
    steps.append(Warned("dpo_winner_worse", "The preferred pictures get worse.", "Raise objective.beta."))
    leave(run, [*steps, RunFinished(20, "trained.safetensors", 2.0)])


def leave_comparison(run: RunDir, folder: Path) -> None:
    make_comparison(run, folder / "preferences" / "labelled-proof", "/somewhere/better.safetensors", prompts=40)
    leave(run, [PicturesMade(80, 80, 5.0), RunFinished(80, "", 5.0)])


@pytest.fixture(scope="module")
def url(data: Path) -> Iterator[str]:
    with serving_fake(data) as url:
        yield url


def open_set(page: Page, address: str, name: str) -> None:
    page.goto(f"{address}#preferences", wait_until="commit")
    page.locator(f'.at-preferences [data-set="{name}"]').click()
    expect(page.locator(".pf-main h1")).to_have_text(name)


def step(page: Page, name: str) -> Locator:
    page.locator(f"#pf-tab-{name}").click()
    return page.locator(f"#pf-tab-{name}")


def test_pictures_are_drawn_scored_paired_and_labelled(url: str, data: Path, page_watch: tuple[Page, Watch]) -> None:
    page, watch = page_watch
    page.goto(f"{url}/#preferences", wait_until="commit")
    page.get_by_role("button", name="New set").click()
    page.locator("#pf-new-name").fill("drawn")
    page.locator("#pf-new-name").press("Enter")
    expect(page.locator(".pf-main h1")).to_have_text("drawn")
    expect(page.locator("#pf-generate-start")).to_have_text("Give some prompts first")
    page.locator("#pf-generate-prompts-texts").fill("a red circle\na blue square on the left")
    page.locator("#pf-generate-pictures-per_prompt").fill("3")
    page.locator("#pf-generate-pictures-steps").fill("2")
    page.locator("#pf-generate-pictures-steps").press("Tab")
    expect(page.locator("#pf-generate-start")).to_have_text("Draw 6 pictures")
    page.locator("#pf-generate-start").click()
    expect(page.locator("#pf-tab-pictures .pf-step-count")).to_have_text("6", timeout=LOADING_MS)
    expect(page.locator(".pf-strip .pf-thumb")).to_have_count(6)
    expect(page.locator(".pf-job .state").first).to_have_attribute("data-state", "done", timeout=LOADING_MS)
    expect(page.locator("#pf-generate-start")).to_have_text("Nothing to do")

    step(page, "scores")
    page.locator('[data-scorer="sandbox"]').first.click()
    expect(page.locator("#pf-score-start")).to_have_text("Give 6 scores")
    page.locator("#pf-score-start").click()
    expect(page.locator("#pf-tab-scores .pf-step-count")).to_have_text("1 scorer", timeout=LOADING_MS)
    expect(page.locator(".pf-rule-result")).to_have_text(re.compile(r"\d pairs, \d ties"), timeout=LOADING_MS)
    page.locator("#pf-which").select_option("all")
    expect(page.locator("#pf-build")).to_be_enabled()
    page.locator("#pf-build").click()
    expect(page.locator("#pf-vote")).to_have_text("Label 6 pairs")

    page.locator("#pf-vote").click()
    page.locator("dialog input").fill("ann")
    page.locator("dialog input").press("Enter")
    expect(page.locator(".vt-count")).to_contain_text("0 of 6")
    page.keyboard.press("ArrowLeft")
    expect(page.locator(".vt-count")).to_contain_text("1 of 6")
    page.locator(".vt-leave").click()
    expect(page.locator(".pf-person")).to_contain_text("1 / 6")
    step(page, "results")
    expect(page.locator(".pf-table").first).to_contain_text("ann")

    prefset = Prefset(data / "preferences" / "drawn")
    assert len(prefset.pictures) == 6 and len(prefset.votes.standing()) == 1
    assert {one.gen["base"] for one in prefset.pictures.values()} == {"sandbox"}
    watch.assert_clean()


def test_sliders_move_the_number_of_pairs_without_scoring(url: str, page_watch: tuple[Page, Watch]) -> None:
    page, watch = page_watch
    open_set(page, f"{url}/", "labelled")
    step(page, "scores")
    page.locator("#pf-which").select_option("all")
    result = page.locator(".pf-rule-result")
    expect(result).to_have_text("0 pairs, 36 ties")  # two scorers that say the opposite
    page.locator('.pf-slider[data-name="other"] input').fill("0")
    expect(result).to_have_text(re.compile(r"^[1-9]\d* pairs, \d+ ties$"))
    page.reload(wait_until="commit")
    expect(page.locator('.pf-slider[data-name="other"] output')).to_have_text("0")
    watch.assert_clean()


def test_results_fill_the_form_of_training(url: str, data: Path, page_watch: tuple[Page, Watch]) -> None:
    page, watch = page_watch
    open_set(page, f"{url}/", "labelled")
    step(page, "results")
    expect(page.locator(".pf-kappa").nth(1)).to_have_text("1.00")
    expect(page.locator(".pf-interval", has_text="rule")).to_contain_text("100 %")
    expect(page.locator(".pf-interval", has_text="other")).to_contain_text("0 %")
    page.locator('[data-format="train"]').click()
    expect(page.locator(".toast")).to_contain_text("pairs.train.jsonl")
    assert (data / "preferences" / "labelled" / "export" / "pairs.train.jsonl").is_file()
    page.locator("#pf-train").click()
    expect(page.locator("body")).to_have_attribute("data-tab", "expert")
    expect(page.locator("#x-objective-pairs").locator("input, textarea")).to_have_value(
        str(data / "preferences" / "labelled")
    )
    expect(page.locator("#x-run-name").locator("input, textarea")).to_have_value("labelled-dpo")
    watch.assert_clean()


def test_a_comparison_says_whether_training_helped(url: str, page_watch: tuple[Page, Watch]) -> None:
    page, watch = page_watch
    open_set(page, f"{url}/", "labelled")
    expect(step(page, "proof")).to_contain_text("100 %")
    expect(page.locator(".pf-verdict")).to_have_text("It helped: the trained model wins 100 %.")
    expect(page.locator(".pf-proof h2")).to_have_text("better against the base alone")
    expect(page.locator(".pf-proof .checks")).to_contain_text("Training saw none of these prompts.")
    page.locator(".pf-proof").get_by_role("button", name="Side by side").click()
    expect(page.locator(".pf-sample .pf-thumb")).to_have_count(80)
    watch.assert_clean()


def test_a_trained_run_shows_its_pairs_and_can_be_compared(url: str, page_watch: tuple[Page, Watch]) -> None:
    page, watch = page_watch
    page.goto(f"{url}/#runs", wait_until="commit")
    page.locator(".run-row", has_text="trained").click()
    expect(page.locator(".pair-charts figure")).to_have_count(6)
    expect(page.locator(".pair-charts .multiple-accuracy b")).to_have_text("0.5")
    expect(page.locator('.pair-alarms [data-code="dpo_winner_worse"]')).to_contain_text("Raise objective.beta.")
    page.locator("#run-compare").click()
    expect(page.locator(".pf-main h1")).to_have_text("labelled")
    expect(page.locator("#pf-compare-policy-file")).to_have_value(re.compile(r"runs.trained$"))
    watch.assert_clean()


def test_a_job_on_a_set_has_no_plots(url: str, page_watch: tuple[Page, Watch]) -> None:
    page, watch = page_watch
    page.goto(f"{url}/#runs", wait_until="commit")
    page.locator(".run-row", has_text="compared").click()
    expect(page.locator(".run-title h1")).to_have_text("compared")
    expect(page.locator(".facts-row")).to_contain_text("80 / 80")
    expect(page.locator(".charts")).to_be_hidden()
    page.get_by_role("button", name="Open in Prefer").click()
    expect(page.locator("#pf-tab-proof")).to_have_attribute("aria-selected", "true")
    watch.assert_clean()


def test_the_tab_works_on_a_phone_in_chinese(url: str, browser: Browser) -> None:
    with tab(browser, width=390, height=844) as (page, watch):
        open_set(page, f"{url}/zh/", "labelled")
        for name in ("pictures", "scores", "label", "results", "proof"):
            expect(step(page, name)).to_have_attribute("aria-selected", "true")
            page.wait_for_timeout(300)
            wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert wide <= 0, name
        expect(page.locator("#pf-tab-label .pf-step-name")).to_have_text("标注")
        watch.assert_clean()
