"""A folder in, captions out: what is written, what is passed over, what fails, and that nothing is lost."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from captioners import plan, resolve
from captioners.base import Request, Result, StopAskedError
from captioners.config import CaptionConfig
from captioners.job import Job, Totals, seed_of
from captioners.scribe import Scribe, act_of
from captioners.written import FILE, Provenance, note_turn
from tests.scene_reader import SceneReader, read
from trainers.data.edits import Change, Journal, journal_folder
from trainers.errors import AtelierError, ConfigError
from trainers.events import BatchCaptioned, Captioned, Event, Warned
from trainers.machine import Machine
from trainers.rundir import RunDir
from trainers.sandbox import scenes

LAPTOP = Machine("cpu", "a laptop", 16.0, 16.0, 2, bf16=False)


@dataclass
class Desk:
    """A data folder with pictures and a job of them."""

    root: Path
    config: CaptionConfig
    events: list[Event] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        return Path(self.config.pictures.folder)

    @property
    def run_dir(self) -> RunDir:
        return RunDir(resolve.run_folder(self.config))

    def caption(self, model: Any, stop: Callable[[], bool] = lambda: False) -> tuple[Totals, bool]:
        """As a worker of its own would do it."""
        self.run_dir.path.mkdir(parents=True, exist_ok=True)
        targets = plan.targets(self.config)
        job = Job(self.config, resolve.spec_of(self.config), self.events.append, stop)
        return job.run(model, targets, Scribe(self.run_dir, self.config, "here", targets))

    def pictures(self) -> list[Captioned]:
        batches = (event for event in self.events if isinstance(event, BatchCaptioned))
        return [picture for batch in batches for picture in batch.pictures]

    def texts(self) -> dict[str, str]:
        return {file.stem: file.read_text() for file in sorted(self.folder.rglob("*.txt"))}


def draw(folder: Path, count: int) -> list[scenes.Scene]:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(7)
    drawn = [scenes.sample_scene(rng) for _ in range(count)]
    for number, scene in enumerate(drawn):
        scenes.draw(scene).save(folder / f"p{number:02}.png")
    return drawn


Make = Callable[..., Desk]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """A job of so many scenes; wishes: as on the command line."""
    monkeypatch.setenv("ATELIER_DATA_DIR", str(tmp_path / "data"))
    folder = tmp_path / "pictures"

    def made(count: int, *wishes: str) -> Desk:
        if count:
            draw(folder, count)
        values = resolve.override({"pictures": {"folder": str(folder)}}, ["run.name=job", *wishes])
        return Desk(tmp_path, resolve.resolve(resolve.validate(values), LAPTOP))

    return made


def test_every_picture_gets_its_own_caption(make: Make) -> None:
    desk = make(10, "batch_size=4")
    model = SceneReader()
    totals, stopped = desk.caption(model)
    assert (totals, stopped) == (Totals(10, 10, 10, 0, 0), False)
    assert model.calls == [4, 4, 2]
    pairs = zip(desk.texts().values(), draw(desk.folder, 10), strict=True)
    assert [text for text, scene in pairs if text != f"a {scene.colour} {scene.shape}"] == []
    assert totals.sentence(dry=False) == "written 10, skipped 0, failed 0"


def test_captions_that_are_there_are_kept(make: Make) -> None:
    desk = make(5)
    (desk.folder / "p01.txt").write_text("mine")
    (desk.folder / "p03.txt").write_text("")
    totals, _ = desk.caption(SceneReader())
    assert (totals.written, totals.skipped, desk.texts()["p01"], desk.texts()["p03"]) == (3, 2, "mine", "")


def test_captions_of_a_table_are_kept_and_appended_to(make: Make) -> None:
    desk = make(2, "existing=append")
    (desk.folder / "metadata.csv").write_text("file_name,text\np00.png,from the table\n")
    assert desk.caption(SceneReader())[0].written == 2
    assert desk.texts()["p00"].startswith("from the table, a ")
    other = make(0, "run.name=other")
    assert other.caption(SceneReader())[0].skipped == 2


def test_a_bad_picture_is_one_line_and_stops_nothing(make: Make) -> None:
    desk = make(4, "batch_size=2")
    (desk.folder / "p01.png").write_bytes(b"no picture")
    whole = (desk.folder / "p02.png").read_bytes()
    (desk.folder / "p02.png").write_bytes(whole[: len(whole) // 2])
    (desk.folder / "p03.txt").write_bytes(b"\xff\xfe\x00")  # a caption that cannot be read is not overwritten
    totals, _ = desk.caption(SceneReader())
    assert (totals.written, totals.failed) == (1, 3)
    assert {one.name for one in desk.pictures() if one.status == "failed"} == {"p01.png", "p02.png", "p03.png"}
    assert all(one.reason for one in desk.pictures() if one.status == "failed")
    assert (desk.folder / "p03.txt").read_bytes() == b"\xff\xfe\x00"


def test_out_of_memory_halves_the_batch_and_goes_on(make: Make) -> None:
    desk = make(20, "batch_size=16")
    model = SceneReader(most=5)
    assert desk.caption(model)[0].written == 20
    assert model.calls == [16, 8, 4, 4, 4, 4, 4]
    warnings = [event for event in desk.events if isinstance(event, Warned)]
    assert [event.code for event in warnings] == ["batch_halved"] * 2 and "16 pictures" in warnings[0].message


def test_a_picture_that_does_not_fit_alone_fails_alone(make: Make) -> None:
    desk = make(3, "batch_size=2")

    def hungry(request: Request) -> Result:
        if read(request).text == desk_texts[1]:
            raise MemoryError
        return read(request)

    desk_texts = [read(Request(Image.open(desk.folder / f"p{n:02}.png"))).text for n in range(3)]
    totals, _ = desk.caption(SceneReader(answer=hungry))
    assert (totals.written, totals.failed) == (2, 1)
    assert [one.reason for one in desk.pictures() if one.status == "failed"] == ["out of memory, even alone"]


def test_one_picture_that_breaks_the_model_spoils_no_other(make: Make) -> None:
    desk = make(6, "batch_size=6")
    bad = np.asarray(Image.open(desk.folder / "p02.png"))

    def fragile(request: Request) -> Result:
        if np.array_equal(np.asarray(request.image), bad):
            raise RuntimeError("mat1 and mat2")
        return read(request)

    totals, _ = desk.caption(SceneReader(answer=fragile))
    assert (totals.written, totals.failed) == (5, 1)
    assert [one.reason for one in desk.pictures() if one.status == "failed"] == ["RuntimeError: mat1 and mat2"]


def test_a_model_that_never_works_ends_the_job(make: Make) -> None:
    desk = make(20, "batch_size=4")

    def broken(request: Request) -> Result:
        raise RuntimeError("no kernel")

    with pytest.raises(RuntimeError, match="no kernel"):
        desk.caption(SceneReader(answer=broken))

    def unreachable(request: Request) -> Result:
        raise AtelierError("The server does not answer.", "Start it.")

    with pytest.raises(AtelierError, match="does not answer"):
        desk.caption(SceneReader(answer=unreachable))
    assert desk.texts() == {}


def test_stop_then_continue_equals_one_go(make: Make) -> None:
    desk = make(10, "batch_size=2", "existing=append")
    for number in range(10):
        (desk.folder / f"p{number:02}.txt").write_text(f"number {number}")
    model = SceneReader()
    totals, stopped = desk.caption(model, stop=lambda: len(model.calls) >= 2)
    assert (totals.written, stopped) == (4, True)
    (desk.folder / "p00.txt").write_text("by hand")  # the job wrote it, and a person changed it since
    again = SceneReader()
    totals, stopped = desk.caption(again)
    assert (totals, stopped) == (Totals(10, 10, 10, 0, 0), False)
    assert sum(again.calls) == 6
    assert desk.texts()["p00"] == "by hand"
    assert all(text.count(", a ") == 1 for name, text in desk.texts().items() if name != "p00")


def test_a_stop_within_a_batch_writes_nothing_of_it(make: Make) -> None:
    desk = make(6, "batch_size=3")

    class Stopping(SceneReader):
        def caption(self, requests: Sequence[Request]) -> list[Result]:
            if self.calls:
                raise StopAskedError
            return super().caption(requests)

    totals, stopped = desk.caption(Stopping())
    assert (totals.written, stopped, len(desk.texts())) == (3, True, 3)


def test_a_death_between_journal_and_file_is_made_good(make: Make) -> None:
    desk = make(3, "existing=append", "batch_size=1")
    (desk.folder / "p00.txt").write_text("old")
    desk.caption(SceneReader(), stop=iter([False, True]).__next__)
    written = (desk.folder / "p00.txt").read_text()
    # as a process leaves it that died after the journal, and before the file, of the second picture
    journal = Journal(journal_folder(desk.root / "data", desk.folder))
    journal.extend(act_of(desk.run_dir), "captioning: x", [Change(desk.folder / "p01.txt", None, "a red ball")])
    (desk.folder / "p01.txt").unlink()
    totals, _ = desk.caption(SceneReader())
    assert totals.written == 3 and (desk.folder / "p00.txt").read_text() == written
    assert (desk.folder / "p01.txt").read_text().startswith("a ")


def test_undo_gives_back_what_was_there_and_keeps_hand_edits(make: Make) -> None:
    desk = make(5, "existing=replace", "batch_size=2")
    before = {f"p{number:02}": f"old {number}" for number in range(4)}
    for name, text in before.items():
        (desk.folder / f"{name}.txt").write_text(text)
    desk.caption(SceneReader())
    (desk.folder / "p02.txt").write_text("by hand")
    outcome = Journal(journal_folder(desk.root / "data", desk.folder)).undo(act_of(desk.run_dir))
    assert [skipped.path.name for skipped in outcome.skipped] == ["p02.txt"]
    assert desk.texts() == {**before, "p02": "by hand"}


def test_a_job_that_was_undone_writes_anew(make: Make) -> None:
    desk = make(3, "existing=replace")
    desk.caption(SceneReader())
    journal = Journal(journal_folder(desk.root / "data", desk.folder))
    first = act_of(desk.run_dir)
    journal.undo(first)
    assert desk.texts() == {}
    assert desk.caption(SceneReader())[0].written == 3
    assert act_of(desk.run_dir) != first and len(desk.texts()) == 3


def test_a_text_that_was_changed_meanwhile_is_not_overwritten(make: Make) -> None:
    desk = make(1, "existing=replace")

    def slow(request: Request) -> Result:
        (desk.folder / "p00.txt").write_text("typed while the model thought")
        return read(request)

    totals, _ = desk.caption(SceneReader(answer=slow))
    assert (totals.written, totals.failed) == (0, 1)
    assert desk.texts() == {"p00": "typed while the model thought"}


def test_pictures_that_share_a_caption_file_are_captioned_once(make: Make) -> None:
    desk = make(1, "existing=append")
    Image.new("RGB", (64, 64), "white").save(desk.folder / "p00.jpg")
    totals, _ = desk.caption(SceneReader())
    assert (totals.written, totals.skipped) == (1, 1)
    assert [one.reason for one in desk.pictures() if one.status == "skipped"] == [
        "it has the same caption file as p00.jpg"
    ]


def test_a_dry_run_writes_nothing(make: Make) -> None:
    desk = make(4, "dry_run=true", "limit=3", "batch_size=1")
    totals, stopped = desk.caption(SceneReader())
    assert (totals.written, stopped) == (3, False) and totals.sentence(dry=True) == "would write 3, skipped 0, failed 0"
    assert [one.status for one in desk.pictures()] == ["shown"] * 3 and all(one.after for one in desk.pictures())
    assert desk.texts() == {} and not (desk.folder / FILE).exists() and act_of(desk.run_dir) == ""


def test_limit_and_names_choose_pictures(make: Make) -> None:
    assert make(5, "limit=2", "batch_size=4").caption(SceneReader())[0].written == 2
    desk = make(0, 'only=["p03.png"]', "existing=replace")
    assert desk.caption(SceneReader())[0].total == 1 and "p03" in desk.texts()
    with pytest.raises(ConfigError, match="is not in"):
        make(0, 'only=["p99.png"]').caption(SceneReader())


def test_a_text_that_is_none_is_asked_for_once_more_with_another_seed(make: Make) -> None:
    desk = make(2, "captioner.name=qwen3-vl-2b", "batch_size=2")
    first: set[int] = set()

    def fitful(request: Request) -> Result:
        usual = seed_of(0, "p00.png")
        first.add(request.seed)
        return Result("", "empty") if request.seed == usual else read(request)

    model = SceneReader(answer=fitful)
    assert desk.caption(model)[0].written == 2
    assert model.calls == [2, 1] and len(first) == 3


def test_a_text_that_stays_none_fails_with_its_reason(make: Make) -> None:
    desk = make(1)
    desk.caption(SceneReader(answer=lambda request: Result("!!!", "empty")))
    picture = desk.pictures()[0]
    assert (picture.status, picture.said, picture.reason) == ("failed", "!!!", "the model wrote nothing")


def test_a_text_that_was_cut_off_ends_with_a_sentence(make: Make) -> None:
    desk = make(1)
    desk.caption(SceneReader(answer=lambda request: Result("A dog. It runs. The dog is of a", truncated=True)))
    assert desk.texts() == {"p00": "A dog. It runs."}


def test_who_wrote_a_caption_is_kept_beside_the_data(make: Make) -> None:
    desk = make(2, "seed=5", "policy.trigger=wuzzle")
    desk.caption(SceneReader())
    known = Provenance(desk.folder)
    found = known.of("p00.png", desk.texts()["p00"])
    assert found and not found[1]
    record = found[0]
    assert (record.captioner, record.source, record.seed) == ("sandbox", "here", seed_of(5, "p00.png"))
    assert record.job == "job" and record.act == act_of(desk.run_dir)
    assert known.of("p00.png", "changed by hand") == (record, True)
    assert known.of("p00.png", f"{desk.texts()['p00']}\n") == (record, False)
    assert known.of("p01.png", None) is None and known.of("p77.png", "x") is None
    note_turn(desk.folder, act_of(desk.run_dir), undone=True)
    assert known.of("p00.png", desk.texts()["p00"]) is None
    note_turn(desk.folder, act_of(desk.run_dir), undone=False)
    assert known.of("p00.png", desk.texts()["p00"]) == (record, False)
    lines = (desk.folder / FILE).read_text().splitlines()
    assert all(json.loads(line) for line in lines) and "wuzzle" in desk.texts()["p00"]


def test_the_old_caption_is_part_of_the_question(make: Make) -> None:
    desk = make(
        1, "captioner.name=qwen3-vl-2b", "existing=replace", "prompt.text=Improve {tags} of {name} in {directory}"
    )
    (desk.folder / "p00.txt").write_text("one,\ntwo <|image_pad|>{name}")
    model = SceneReader()
    desk.caption(model)
    assert model.prompts == ["Improve one, two {name} of p00 in pictures"]


def test_a_seed_belongs_to_its_picture(make: Make) -> None:
    desk = make(4, "batch_size=3", "existing=replace")
    model, other = SceneReader(), SceneReader()
    desk.caption(model)
    make(0, "run.name=again", "existing=replace", 'only=["p02.png"]').caption(other)
    assert len(set(model.seeds)) == 4 and other.seeds == [model.seeds[2]]


def test_a_folder_without_pictures_is_refused(make: Make, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        make(0).caption(SceneReader())
    (tmp_path / "pictures").mkdir()
    with pytest.raises(ConfigError, match="holds no picture"):
        make(0).caption(SceneReader())
