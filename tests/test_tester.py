"""The process that draws trials: how it begins, serves, fails, is found again, and ends."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from PIL import Image

from app.jobs import tester
from tests.lora_files import write_lora
from tests.test_draw import config_of, own_family
from tests.test_supervisor import PROGRAM, wait_for
from tests.tiny import make_flux
from trainers import resolve
from trainers.errors import EXIT_DONE, AtelierError
from trainers.rundir import RunDir, all_records, worker_info
from trainers.trials import Trial, TrialFolder

FAKE = (sys.executable, "-m", "tests.fake_tester")


def trial(prompt: str = "a dog", strengths: tuple[float, ...] = (0.0, 1.0)) -> Trial:
    return Trial(
        prompt=prompt, seed=1, steps=2, guidance=1.0, width=64, height=64, strengths=list(strengths), asked=time.time()
    )


class Lab:
    """Runs with an adapter file, and what starts processes for them."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir, self.folders, self.training = data_dir, list[TrialFolder](), False
        self.testers = self.new_app()

    def new_app(self) -> tester.Testers:
        return tester.Testers(
            self.data_dir, lambda: [folder.run for folder in self.folders], lambda: self.training, FAKE
        )

    def add(self, name: str) -> TrialFolder:
        run = RunDir(self.data_dir / name)
        values = {"run": {"name": name}}
        run.create(resolve.dump(resolve.validate(values)))
        run.adapter(name).write_bytes(b"adapter")
        self.folders.append(TrialFolder(run))
        return self.folders[-1]

    def ask(self, folder: TrialFolder, wanted: Trial) -> str:
        trial_id = folder.add(wanted)
        self.testers.ask(folder.run, trial_id)
        return trial_id


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    made = Lab(tmp_path)
    yield made
    made.testers.end_all()


@pytest.fixture
def dog(lab: Lab) -> TrialFolder:
    return lab.add("dog")


def pid(folder: TrialFolder) -> int:
    info = worker_info(folder.desk)
    assert info
    return info.pid


def phases(folder: TrialFolder, trial_id: str) -> list[str]:
    return [record["phase"] for record in all_records(folder.desk.events) if record.get("trial") == trial_id]


def wait_drawn(folder: TrialFolder, trial_id: str) -> None:
    wait_for(lambda: "done" in phases(folder, trial_id), f"{trial_id} to be drawn")


def test_a_sweep_is_drawn_in_its_order_and_kept_with_its_settings(lab: Lab, dog: TrialFolder) -> None:
    wanted = trial(strengths=(1.0, 0.0, 0.5))
    trial_id = lab.ask(dog, wanted)
    wait_drawn(dog, trial_id)
    reds = [Image.open(dog.picture(trial_id, index)).getpixel((0, 0))[0] for index in range(3)]  # type: ignore[index]
    assert reds == [200, 0, 100] and Image.open(dog.sheet(trial_id)).width > 3 * 64
    assert dog.read(trial_id) == wanted
    assert [phase for phase in phases(dog, trial_id) if phase != "loading"] == ["drawing"] * 3 + ["done"]


def test_one_process_serves_all_trials_of_a_run(lab: Lab, dog: TrialFolder) -> None:
    first = lab.ask(dog, trial())
    process = pid(dog)
    second = lab.ask(dog, trial("fail on purpose"))
    third = lab.ask(dog, trial(strengths=(1.0,)))
    for one in (first, third):
        wait_drawn(dog, one)
    assert pid(dog) == process and lab.testers.state(dog.run) == "on"
    failed = [record for record in all_records(dog.desk.events) if record.get("trial") == second][-1]
    assert (failed["message"], failed["hint"]) == ("It cannot be drawn.", "Ask for something else.")
    assert not dog.sheet(third).exists(), "one picture needs no sheet"


def test_a_process_that_was_killed_is_told_apart_and_replaced(lab: Lab, dog: TrialFolder) -> None:
    lost = lab.ask(dog, trial("die at once"))
    wait_for(lambda: lab.testers.state(dog.run) == "gone", "the end of the process")
    first = pid(dog)
    info = worker_info(dog.desk)
    assert info and info.exit_code == -9
    fresh = lab.ask(dog, trial())
    wait_drawn(dog, fresh)
    assert pid(dog) != first and not dog.picture(lost, 0).exists(), "what killed it is not tried again by itself"


def test_a_trial_that_broke_off_goes_on_where_it_was(lab: Lab, dog: TrialFolder) -> None:
    broken = lab.ask(dog, trial("slow one", (0.0, 0.5, 1.0)))
    wait_for(dog.picture(broken, 0).exists, "the first picture")
    psutil.Process(pid(dog)).kill()
    wait_for(lambda: lab.testers.state(dog.run) == "gone", "the end of the process")
    first = dog.picture(broken, 0).stat().st_mtime_ns
    lab.testers.ask(dog.run, broken)
    wait_drawn(dog, broken)
    assert dog.picture(broken, 0).stat().st_mtime_ns == first and dog.picture(broken, 2).exists()


def test_it_leaves_by_itself_when_nobody_asks(dog: TrialFolder) -> None:
    command = [*FAKE, str(dog.run.path), "--idle-s", "0.3"]
    assert subprocess.run(command, cwd=PROGRAM, timeout=30).returncode == EXIT_DONE
    info = worker_info(dog.desk)
    assert info and info.exit_code == EXIT_DONE and not info.alive


def test_it_ends_when_it_is_told_to_and_nothing_is_lost_but_a_picture(lab: Lab, dog: TrialFolder) -> None:
    trial_id = lab.ask(dog, trial("slow one", (0.0, 0.5, 1.0)))
    wait_for(dog.picture(trial_id, 0).exists, "the first picture")
    process = pid(dog)
    lab.testers.end(dog.run)
    assert not psutil.pid_exists(process) or psutil.Process(process).status() == psutil.STATUS_ZOMBIE
    assert dog.picture(trial_id, 0).exists() and not dog.picture(trial_id, 2).exists()
    assert lab.testers.state(dog.run) == "off"
    assert not list(dog.desk.path.glob(".*")), "no half-written file"


def test_it_is_ended_by_force_when_it_does_not_listen(
    lab: Lab, dog: TrialFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.jobs.tester.STOP_WAIT_S", 0.1)
    trial_id = lab.ask(dog, trial("slow one", (0.0, 0.5, 1.0)))
    wait_for(lambda: "drawing" in phases(dog, trial_id), "the first picture to be begun")
    lab.testers.end(dog.run)
    assert lab.testers.state(dog.run) == "gone"


def test_a_new_app_finds_the_process_that_an_earlier_one_started(lab: Lab, dog: TrialFolder) -> None:
    wait_drawn(dog, lab.ask(dog, trial()))
    process, lab.testers = pid(dog), lab.new_app()
    assert lab.testers.state(dog.run) == "on"
    wait_drawn(dog, lab.ask(dog, trial()))
    assert pid(dog) == process
    lab.testers.end_all()
    assert lab.testers.state(dog.run) == "off"


def test_one_run_at_a_time_has_its_model_in_memory(lab: Lab, dog: TrialFolder) -> None:
    wait_drawn(dog, lab.ask(dog, trial()))
    cat = lab.add("cat")
    wait_drawn(cat, lab.ask(cat, trial()))
    assert (lab.testers.state(dog.run), lab.testers.state(cat.run)) == ("off", "on")


def test_nothing_is_drawn_while_a_run_trains(lab: Lab, dog: TrialFolder) -> None:
    lab.training = True
    with pytest.raises(AtelierError, match="A run is training"):
        lab.ask(dog, trial())
    assert lab.testers.state(dog.run) == "off" and not dog.requests.exists()


def test_a_deleted_trial_is_not_drawn_to_its_end(lab: Lab, dog: TrialFolder) -> None:
    deleted = lab.ask(dog, trial("slow one", (0.0, 0.5, 1.0)))
    wait_for(dog.picture(deleted, 0).exists, "the first picture")
    dog.delete(deleted)
    after = lab.ask(dog, trial())
    wait_drawn(dog, after)
    assert dog.ids() == [after] and "done" not in phases(dog, deleted)


@pytest.mark.slow
def test_the_real_process_draws_with_a_real_adapter(tmp_path: Path) -> None:
    config = config_of(make_flux(tmp_path / "base"), tmp_path)
    folder = TrialFolder(RunDir(tmp_path / "dog"))
    folder.run.create(resolve.dump(config))
    write_lora(folder.run.adapter("dog"), own_family(config), "transformer")
    early = folder.run.checkpoint(5) / "dog-000005.safetensors"
    early.parent.mkdir(parents=True)
    write_lora(early, own_family(config), "transformer", seed=9)
    trial_id = folder.add(trial(strengths=(0.0, 1.0)))
    of_checkpoint = folder.add(trial(strengths=(1.0,)).model_copy(update={"file": early.name}))
    of_none = folder.add(trial(strengths=(1.0,)).model_copy(update={"file": "gone.safetensors"}))
    for one in (trial_id, of_checkpoint, of_none):
        folder.send("draw", one)
    command = [sys.executable, "-m", "trainers.tester", str(folder.run.path), "--skip", "0", "--idle-s", "0.5"]
    assert subprocess.run(command, cwd=PROGRAM, timeout=120).returncode == EXIT_DONE
    base, adapted = (Image.open(folder.picture(trial_id, index)) for index in range(2))
    assert base.size == adapted.size == (64, 64) and base.tobytes() != adapted.tobytes()
    other = Image.open(folder.picture(of_checkpoint, 0))
    assert other.tobytes() not in (base.tobytes(), adapted.tobytes())
    records = [record for record in all_records(folder.desk.events) if "phase" in record]
    assert (records[-1]["trial"], records[-1]["phase"]) == (of_none, "failed") and records[-1]["hint"]
    told = [(record["phase"], record["detail"]) for record in records if record["trial"] == trial_id]
    parts = ("libraries", "text", "denoiser")
    assert [detail for phase, detail in told if phase == "loading"] == list(parts) and told[-1] == ("done", "")


def test_a_process_that_cannot_be_started_is_told(dog: TrialFolder, tmp_path: Path) -> None:
    broken = tester.Testers(tmp_path, lambda: [dog.run], lambda: False, ("/no/such/program",))
    with pytest.raises(AtelierError, match="could not be started: No such file"):
        broken.ask(dog.run, dog.add(trial()))
