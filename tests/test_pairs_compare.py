"""Trained model against reference: drawn from the same noise, gone on with, and proven; the sandbox draws."""

from __future__ import annotations

import dataclasses
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from tests.lora_files import write_lora
from tests.training import CPU
from trainers import resolve as training
from trainers import settings
from trainers.draw import DrawRequest
from trainers.errors import EXIT_DONE, AtelierError, ConfigError
from trainers.events import Event, PicturesMade, Warned
from trainers.families import load_family
from trainers.families.base import Runtime
from trainers.preferences import cli, compare, painter, preflight, report, resolve, worker
from trainers.preferences.config import CompareConfig
from trainers.preferences.duels import Duel, duels_of
from trainers.preferences.halving import Outcome
from trainers.preferences.prefset import Prefset
from trainers.preferences.training_pairs import TrainingPair, write_training_pairs
from trainers.preferences.votes import Vote, left_of
from trainers.rundir import RunDir, all_records
from trainers.sandbox import scenes

PROMPTS = [
    "a red circle on the left, white background",
    "a blue square in the middle, grey background",
    "a green cross on the right, white background",
    "a cyan triangle on the left, black background",
]
DIES_IN_VAIN_S = 60.0

Compare = Callable[..., "Job"]
Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def loras(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Files for the sandbox: one that changes pictures, and one that changes nothing."""
    root = tmp_path_factory.mktemp("loras")
    config = training.resolve(training.validate({"model": {"base": "sandbox"}, "run": {"name": "x"}}), CPU)
    family = load_family(config, Runtime(torch.device("cpu"), torch.float32))
    told = {"atelier.base": "sandbox"}
    loud = write_lora(root / "loud.safetensors", family, "transformer", **told)
    silent = {key: value * ("lora_B" not in key) for key, value in load_file(loud).items()}
    save_file(silent, root / "zero.safetensors", metadata=told)
    return {"loud": loud, "zero": root / "zero.safetensors"}


@dataclasses.dataclass
class Job:
    run: RunDir
    config: CompareConfig
    events: list[Event] = dataclasses.field(default_factory=list)

    @property
    def prefset(self) -> Prefset:
        return Prefset(Path(self.config.set.folder))

    def go_on(self, stop_after: int | None = None) -> Outcome:
        """In this process. stop_after: pictures, after which a person stops the job."""
        self.events = []

        def stop_asked() -> bool:
            made = sum(len(event.items) for event in self.events if isinstance(event, PicturesMade))
            return stop_after is not None and made >= stop_after

        return compare.work(self.run, self.config, self.events.append, stop_asked, lambda *_: None)

    def made(self) -> int:
        return sum(len(event.items) for event in self.events if isinstance(event, PicturesMade))

    def warned(self) -> list[str]:
        return [event.code for event in self.events if isinstance(event, Warned)]

    def report(self) -> dict[str, Any]:
        found = report.read_report(self.run)
        assert found
        return found

    def duels(self) -> list[Duel]:
        return duels_of(self.run, self.prefset)

    def files(self) -> dict[str, bytes]:
        return {file.name: file.read_bytes() for file in self.prefset.images_dir.iterdir()}


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loras: dict[str, Path]) -> Compare:
    """Prepares a comparison; settings override small ones."""
    monkeypatch.setenv("ATELIER_DATA_DIR", str(tmp_path / "data"))

    def make(folder: str = "proof", **sections: dict[str, Any]) -> Job:
        values: dict[str, dict[str, Any]] = {
            "set": {"folder": str(tmp_path / folder)},
            "run": {"threads": 1},
            "prompts": {"texts": PROMPTS},
            "pictures": {"per_prompt": 1, "steps": 2, "batch_size": 3},
            "policy": {"file": str(loras["loud"])},
            "scorers": {"names": ["sandbox:higher"]},
        }
        for section, part in sections.items():
            values[section] = {**values.get(section, {}), **part}
        config = resolve.resolve(settings.validate(values, CompareConfig), CPU)
        preflight.check(config, CPU)
        run = RunDir(resolve.run_folder(config))
        run.create(settings.dump(config))
        return Job(run, config)

    return make


class Planted:
    """Draws what the prompt says; with an adapter it draws it higher. The place follows from the seed alone."""

    def __init__(self, config: Any, file: Path | None, say: Any, download: Any) -> None:
        self._lift = 4.0 if file else 0.0

    def read(self, prompts: Sequence[str]) -> None:
        pass

    def forget(self) -> None:
        pass

    def close(self) -> None:
        pass

    def shift(self, width: int, height: int) -> float:
        return 1.0

    def draw_batch(self, requests: Sequence[DrawRequest]) -> list[Image.Image]:
        return [self._draw(request) for request in requests]

    def _draw(self, request: DrawRequest) -> Image.Image:
        colour, shape = request.prompt.lower().split()[1:3]
        y = 30.0 + request.seed % 5 - self._lift
        picture = scenes.draw(scenes.Scene(shape, colour, "middle", "white", 32.0 + request.seed % 3, y, 15.0))
        picture.putpixel((0, 0), tuple(request.seed.to_bytes(4, "big")[:3]))  # no two seeds draw the same
        return picture


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(painter, "Drawer", Planted)


# --------------------------------------------------------------------------- what is proven


def test_a_policy_that_is_better_wins_and_the_rest_is_seen_to_stay(job: Compare, planted: None) -> None:
    one = job(pictures={"per_prompt": 3})
    told = one.go_on()
    assert told.summary == "policy preferred in 100 % of 12 pairs (95 % interval 51 to 100 %)", "four prompts count"
    found = one.report()
    assert (found["wins"], found["ties"], found["losses"], found["identical"]) == (12, 0, 0, 0)
    assert found["scorers"]["sandbox:higher"]["mean_difference"] == pytest.approx(4 / 64, abs=0.01)
    assert list(found["scorers"]) == ["sandbox:higher"], "what was not asked for has no say"
    assert found["adherence"]["reference"] == found["adherence"]["policy"] and found["adherence"]["n"] == 12


def test_a_scorer_that_is_wrong_says_the_opposite(job: Compare, planted: None) -> None:
    one = job(scorers={"names": ["sandbox:higher", "sandbox:lower"]})
    one.go_on()
    found = one.report()
    assert [found["scorers"][name]["win_rate"] for name in one.config.scorers.names] == [1.0, 0.0]
    assert (found["win_rate"], found["ties"]) == (0.5, 4)


def test_an_adapter_that_changes_nothing_wins_exactly_half(job: Compare, loras: dict[str, Path]) -> None:
    """The pictures are the same, byte by byte, so whatever differs elsewhere is the adapter's doing."""
    one = job(policy={"file": str(loras["zero"])})
    one.go_on()
    found, files = one.report(), one.files()
    assert (found["win_rate"], found["ties"], found["identical"], found["pairs"]) == (0.5, 4, 4, 4)
    assert len(files) == 8 and len(set(files.values())) == 4
    assert one.prefset.pairs == {}, "there is nothing to label in two pictures that are the same"
    assert one.go_on().summary == "policy preferred in 50 % of 4 pairs (95 % interval 15 to 85 %)" and one.made() == 0


def test_both_members_are_kept_and_neither_can_be_told_by_its_pair(job: Compare, planted: None) -> None:
    one = job(pictures={"per_prompt": 6})
    one.go_on()
    prefset = one.prefset
    assert len(prefset.pairs) == 24 and {pair.origin for pair in prefset.pairs.values()} == {"compare"}
    sides = []
    for duel in one.duels():
        reference, policy = (prefset.pictures[image] for image in (duel.reference, duel.policy))
        assert (reference.gen["role"], policy.gen["role"]) == ("reference", "policy")
        assert reference.gen["seed"] == policy.gen["seed"] and len(policy.gen["adapters"]) == 1
        assert not reference.gen["adapters"] and reference.gen["prompt"] == policy.gen["prompt"]
        pair = prefset.pairs[duel.pair_id]
        assert pair.a < pair.b and "policy" not in json.dumps(vars(pair))
        sides.append(pair.a == duel.policy)
    assert {True, False} == set(sides)


def test_two_comparisons_in_one_set_share_the_reference_and_not_their_numbers(
    job: Compare, planted: None, loras: dict[str, Path]
) -> None:
    first = job()
    first.go_on()
    before = first.report()
    second = job(policy={"file": str(loras["zero"])}, reference={"file": str(loras["loud"])})
    second.go_on()
    assert second.made() == 4, "the pictures of the first policy are those of the second reference"
    assert first.report() == before and second.report()["reference"] == "loud"


# --------------------------------------------------------------------------- what it is asked


def trained(root: Path, loras: dict[str, Path], **objective: Any) -> Path:
    """The folder of a run that trained on the first two prompts and kept the third."""
    rows = [
        TrainingPair(prompt, "/x/a.png", "/x/b.png", split="held_out" if place == 2 else "train")
        for place, prompt in enumerate(PROMPTS[:3])
    ]
    write_training_pairs(root / "pairs.train.jsonl", rows)
    run = RunDir(root / "tuned")
    part = {"kind": "dpo", "pairs": str(root / "pairs.train.jsonl"), **objective}
    values = {"run": {"name": "tuned"}, "model": {"base": "sandbox"}, "objective": part}
    run.create(training.dump(training.validate(values)))
    run.adapter("tuned").write_bytes(loras["loud"].read_bytes())
    return run.path


def test_a_run_is_compared_on_the_prompts_that_it_held_out(
    job: Compare, planted: None, tmp_path: Path, loras: dict[str, Path]
) -> None:
    one = job(policy={"file": str(trained(tmp_path, loras))}, prompts={"texts": []}, set={"folder": ""})
    assert one.config.prompts.texts == (PROMPTS[2],) and one.config.model.base == "sandbox"
    assert one.config.set.folder == str(tmp_path / "data" / "preferences" / "tuned-proof")
    one.go_on()
    assert (one.report()["trained_on"], one.report()["held_out"]) == (0, 1)
    assert one.warned() == ["compare_few_prompts"]


def test_prompts_that_were_trained_on_are_warned_of(
    job: Compare, planted: None, tmp_path: Path, loras: dict[str, Path]
) -> None:
    prompts = [f" {PROMPTS[0].upper()}", *PROMPTS[1:]]
    one = job(policy={"file": str(trained(tmp_path, loras))}, prompts={"texts": prompts})
    one.go_on()
    assert (one.report()["trained_on"], one.report()["held_out"]) == (2, 1)
    assert "compare_trained_prompts" in one.warned()


def test_the_reference_is_what_training_began_with(job: Compare, tmp_path: Path, loras: dict[str, Path]) -> None:
    run = trained(tmp_path, loras, sft_lora=str(loras["zero"]))
    assert job(policy={"file": str(run)}).config.reference.file == str(loras["zero"])
    assert job("other", policy={"file": str(run)}, reference={"file": ""}).config.reference.file == ""
    assert job("third").config.reference.file == "", "of a file nothing is known"


def test_a_resolved_comparison_stays_as_it_is(job: Compare, tmp_path: Path, loras: dict[str, Path]) -> None:
    one = job(policy={"file": str(trained(tmp_path, loras))}, prompts={"texts": []}, set={"folder": ""})
    stored = resolve.load(one.run.config.read_text())
    assert stored == one.config == resolve.resolve(stored, CPU)


@pytest.mark.parametrize(
    ("sections", "field"),
    [
        ({"policy": {"file": ""}}, "policy.file"),
        ({"policy": {"file": "none.safetensors"}}, "policy.file"),
        ({"reference": {"file": "none.safetensors"}}, "reference.file"),
        ({"reference": {"file": "LOUD"}}, "reference.file"),
        ({"prompts": {"texts": []}}, "prompts.texts"),
    ],
)
def test_what_cannot_be_compared_is_refused_at_its_field(
    job: Compare, loras: dict[str, Path], tmp_path: Path, sections: dict[str, dict[str, Any]], field: str
) -> None:
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(loras["loud"].read_bytes())
    given = json.loads(json.dumps(sections).replace("LOUD", str(copy)))
    with pytest.raises(ConfigError) as caught:
        job(**given)
    assert caught.value.field == field and caught.value.hint


# --------------------------------------------------------------------------- broken off


def test_stopped_and_resumed_equals_undisturbed(job: Compare, planted: None) -> None:
    whole, broken = job("whole"), job("broken")
    whole.go_on()
    for after in (1, 4):
        assert broken.go_on(stop_after=after).stopped and report.read_report(broken.run) is None
    broken.go_on()
    assert broken.files() == whole.files()
    assert {**broken.report(), "set": ""} == {**whole.report(), "set": ""}
    assert list(broken.prefset.pairs) == list(whole.prefset.pairs)


def test_a_worker_that_is_killed_loses_and_repeats_nothing(job: Compare) -> None:
    many = {"pictures": {"per_prompt": 4, "batch_size": 4, "steps": 2}}
    whole, broken = job("whole", **many), job("broken", **many)
    whole.go_on()
    command = [sys.executable, "-m", "trainers.preferences.worker", str(broken.run.path)]
    images = Path(broken.config.set.folder) / "images.jsonl"
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        give_up = time.monotonic() + DIES_IN_VAIN_S
        while not images.exists() or images.read_bytes().count(b"\n") < 18:  # the policy draws
            assert process.poll() is None and time.monotonic() < give_up
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
    there = {file: file.stat().st_mtime_ns for file in broken.prefset.images_dir.iterdir()}
    assert 18 <= len(there) < 32
    assert worker.work(broken.run) == EXIT_DONE
    assert broken.files() == whole.files() and len(broken.prefset.pictures) == 32
    assert {file: file.stat().st_mtime_ns for file in there} == there
    assert {**broken.report(), "set": ""} == {**whole.report(), "set": ""}


def test_an_adapter_that_was_trained_on_meanwhile_is_not_mixed_in(
    job: Compare, planted: None, tmp_path: Path, loras: dict[str, Path]
) -> None:
    mine = tmp_path / "mine.safetensors"
    mine.write_bytes(loras["loud"].read_bytes())
    one = job(policy={"file": str(mine)})
    assert one.go_on(stop_after=1).stopped
    mine.write_bytes(loras["zero"].read_bytes())
    with pytest.raises(AtelierError, match="policy has changed"):
        one.go_on()


# --------------------------------------------------------------------------- from a terminal


def test_from_the_command_line_to_the_votes_of_people(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loras: dict[str, Path], capsys: Capture
) -> None:
    monkeypatch.setenv("ATELIER_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    Path("prompts.txt").write_text("\n".join(PROMPTS))
    words = ["pairs", "compare", str(loras["loud"]), "prompts.file=prompts.txt", "steps=4", "threads=1"]
    assert cli.main([*words, "scorers.names=['sandbox']"]) == EXIT_DONE
    out, err = capsys.readouterr()
    assert out.startswith("policy preferred in ") and " of 4 pairs (95 % interval " in out and "8 pictures of 4" in err
    folder = tmp_path / "data" / "preferences" / "loud-proof"
    assert out.endswith(f"{folder}\n") and "loud against the base alone: 4 pairs of 4 prompts." in out
    run = tmp_path / "data" / "runs" / "compare-loud-proof"
    kept = json.loads((run / "compare.json").read_text())
    assert kept["adherence"]["reference"] > kept["adherence"]["policy"], "so strong an adapter spoils the pictures"

    prefset = Prefset(folder)
    for duel in duels_of(RunDir(run), prefset):
        better = "a" if duel.pair.a == duel.reference else "b"
        prefset.votes.add(Vote(duel.pair_id, duel.pair_id, "ann", better, left_of(duel.pair_id, "ann"), 900, 1.0))
    pictures = (folder / "images.jsonl").read_bytes()
    for place in ([str(run)], ["loud-proof"]):
        assert cli.main(["pairs", "report", *place]) == EXIT_DONE
        out = capsys.readouterr().out
        assert [line.split()[:3] for line in out.splitlines() if line.startswith("people")] == [["people", "0", "%"]]
    assert cli.main(["pairs", "compare", str(run)]) == EXIT_DONE
    assert json.loads((run / "compare.json").read_text())["human"]["losses"] == 4
    assert (folder / "images.jsonl").read_bytes() == pictures and len(list(all_records(folder / "scores.jsonl"))) == 8
    assert cli.main(["pairs", "compare", str(run), "steps=8"]) != EXIT_DONE
    assert cli.main(["pairs", "report", "nowhere"]) != EXIT_DONE and "no comparison" in capsys.readouterr().err
