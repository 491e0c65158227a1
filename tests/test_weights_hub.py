"""Downloads bring what a run needs and no more, go on where they stopped, and say what to do when they fail."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, EulerDiscreteScheduler, UNet2DConditionModel
from huggingface_hub import constants

from tests.checks import check, codes, found, lay_out
from tests.fake_hub import COMMIT, Hub, serving
from tests.tiny import make_sd15
from trainers import catalog
from trainers.config import Model
from trainers.errors import MissingPackageError
from trainers.paths import PROGRAM
from trainers.weights import blobs
from trainers.weights.header import WeightsError
from trainers.weights.hub import fetch
from trainers.weights.open import open_model, open_scheduler, open_tokenizer
from trainers.weights.source import ModelSource, source_of, stamp

REPO = "someone/tiny"
UNET = "unet/diffusion_pytorch_model.safetensors"
NEEDED = {
    "model_index.json",
    "scheduler/scheduler_config.json",
    "text_encoder/config.json",
    "text_encoder/model.safetensors",
    "tokenizer/tokenizer.json",
    "tokenizer/tokenizer_config.json",
    "unet/config.json",
    UNET,
    "vae/config.json",
    "vae/diffusion_pytorch_model.safetensors",
}


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with much that nobody needs."""
    folder = make_sd15(tmp_path_factory.mktemp("published") / "tiny")
    for name in ("README.md", "everything.ckpt", "safety_checker/model.safetensors", "unet/pytorch_model.bin"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"not needed")
    return folder


@pytest.fixture
def hub(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1000)  # what is not a whole one is lost with a connection
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # between tries
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.setattr(blobs, "TOLD_EVERY_S", 0.0)
    with serving(Hub({REPO: published})) as hub:
        yield hub


def model(server: Hub, base: str = REPO, **fields: Any) -> Model:
    return Model.model_validate({"base": base, "family": "sd15", "endpoint": server.address, **fields})


def silent(file: str, done: int, total: int) -> None: ...


def test_download_brings_what_the_run_needs_and_no_more(hub: Hub) -> None:
    fetch(model(hub), silent)
    assert hub.downloaded() == NEEDED


def test_what_was_downloaded_opens_as_the_folder_does(hub: Hub, published: Path) -> None:
    fetch(model(hub), silent)
    downloaded, local = source_of(model(hub)), ModelSource(str(published), {})
    for name, cls in (("unet", UNet2DConditionModel), ("vae", AutoencoderKL)):
        mine = open_model(downloaded, name, cls, torch.float32).state_dict()
        theirs = open_model(local, name, cls, torch.float32).state_dict()
        assert all(torch.equal(mine[key], theirs[key]) for key in theirs)
    assert open_tokenizer(downloaded, "tokenizer")("a").input_ids == open_tokenizer(local, "tokenizer")("a").input_ids
    assert open_scheduler(downloaded, EulerDiscreteScheduler).config.prediction_type == "epsilon"
    assert catalog.family_of(REPO) == "sd15", "an id that is here tells its family"


def test_what_is_here_is_not_asked_for_again(hub: Hub) -> None:
    fetch(model(hub), silent)
    hub.asked.clear()
    fetch(model(hub), silent)
    assert hub.asked == []


def test_files_and_folders_are_never_downloaded(hub: Hub, published: Path) -> None:
    for base in (str(published), "sandbox"):
        fetch(model(hub, base, family="sd15" if base != "sandbox" else "flux"), silent)
    assert hub.asked == []


def test_broken_download_goes_on_where_it_stopped(hub: Hub, published: Path) -> None:
    whole = (published / UNET).stat().st_size
    hub.cut[UNET] = 5000
    with pytest.raises(WeightsError, match=r"The hub answers with an error \(503\)") as caught:
        fetch(model(hub), silent)
    assert "what is there is kept" in caught.value.hint
    hub.broken = False
    hub.asked.clear()
    fetch(model(hub), silent)
    assert ("GET", f"/{REPO}/resolve/main/{UNET}", "bytes=5000-") in hub.asked
    assert hub.sent[UNET] == whole, "no byte twice"
    assert open_model(source_of(model(hub)), "unet", UNet2DConditionModel, torch.float32)


def test_progress_is_told_in_bytes(hub: Hub, published: Path) -> None:
    told: list[tuple[str, int, int]] = []
    fetch(model(hub), lambda file, done, total: told.append((file, done, total)))
    for name in NEEDED:
        size = (published / name).stat().st_size
        counts = [done for file, done, total in told if file == name and total == size]
        assert counts == sorted(counts) and counts[-1] == size


def test_resumed_progress_begins_where_it_stopped(hub: Hub) -> None:
    hub.cut[UNET] = 5000
    with pytest.raises(WeightsError):
        fetch(model(hub), silent)
    hub.broken, told = False, []
    fetch(model(hub), lambda file, done, total: told.append(done) if file == UNET else None)
    assert min(told) > 5000


def test_16_bits_are_taken_where_they_are_enough(
    hub: Hub, published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = tmp_path / "both"
    shutil.copytree(published, both)
    half = "unet/diffusion_pytorch_model.fp16.safetensors"
    shutil.copy(both / UNET, both / half)
    hub.repos["someone/both"] = both
    fetch(model(hub, "someone/both", precision="bf16"), silent)
    assert half in hub.downloaded() and UNET not in hub.downloaded()
    assert open_model(source_of(model(hub, "someone/both")), "unet", UNet2DConditionModel, torch.bfloat16)
    shutil.rmtree(constants.HF_HUB_CACHE)
    hub.asked.clear()
    fetch(model(hub, "someone/both", precision="fp32"), silent)
    assert UNET in hub.downloaded() and half not in hub.downloaded()


def test_vae_of_its_own_is_downloaded_instead(hub: Hub, published: Path) -> None:
    hub.repos["someone/vae"] = published / "vae"
    config = model(hub, vae="someone/vae")
    fetch(config, silent)
    assert not any(path.startswith(f"/{REPO}/resolve/main/vae") for _, path, _ in hub.asked)
    assert open_model(source_of(config), "vae", AutoencoderKL, torch.float32)


def test_revision_is_kept_to(hub: Hub) -> None:
    fetch(model(hub, revision=COMMIT), silent)
    assert COMMIT in source_of(model(hub, revision=COMMIT)).configs
    assert stamp(source_of(model(hub, revision=COMMIT)), "unet")


def test_mirror_of_the_environment_is_used(hub: Hub, tmp_path: Path) -> None:
    """HF_ENDPOINT is read as the package is imported, so it takes a process of its own."""
    code = f"""
from trainers.config import Model
from trainers.weights.hub import fetch
fetch(Model(base={REPO!r}, family="sd15"), lambda file, done, total: None)
"""
    environment = {"HF_ENDPOINT": hub.address, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "0"}
    subprocess.run([sys.executable, "-c", code], check=True, cwd=PROGRAM, env={**os.environ, **environment})
    assert hub.downloaded() == NEEDED


# --------------------------------------------------------------------------- what goes wrong


def test_gated_model_without_token_says_what_to_do(hub: Hub) -> None:
    hub.gated.add(REPO)
    with pytest.raises(WeightsError, match=r"asks for its licence to be accepted\. Nobody is signed in") as caught:
        fetch(model(hub), silent)
    assert f"https://huggingface.co/{REPO}" in caught.value.hint and "hf auth login" in caught.value.hint


def test_token_opens_a_gated_model(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.gated.add(REPO)
    monkeypatch.setenv("HF_TOKEN", "wrong")
    with pytest.raises(WeightsError, match="Your account has not been let in"):
        fetch(model(hub), silent)
    monkeypatch.setenv("HF_TOKEN", "let-me-in")
    fetch(model(hub), silent)
    assert hub.downloaded() == NEEDED


@pytest.mark.parametrize(
    ("fields", "message", "hint"),
    [
        ({"base": "someone/unknown"}, "There is no model someone/unknown on the hub, or it is private", "spelling"),
        ({"revision": "no-such"}, "has no revision 'no-such'", "model.revision"),
        ({"endpoint": "http://127.0.0.1:9"}, "the hub does not answer", "model.endpoint"),
    ],
)
def test_failure_is_one_sentence_with_a_remedy(fields: dict[str, str], message: str, hint: str, hub: Hub) -> None:
    with pytest.raises(WeightsError, match=message) as caught:
        fetch(model(hub, **fields), silent)
    assert hint in caught.value.hint and "\n" not in str(caught.value)


def test_repository_without_weights_is_refused(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/README.md").write_text("soon")
    hub.repos["someone/empty"] = tmp_path / "empty"
    with pytest.raises(WeightsError, match="holds no weights"):
        fetch(model(hub, "someone/empty"), silent)


def test_room_is_looked_at_before_anything_is_downloaded(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    free = shutil.disk_usage(".")._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: free)
    with pytest.raises(WeightsError, match="GB are free in") as caught:
        fetch(model(hub), silent)
    assert "HF_HOME" in caught.value.hint and hub.downloaded() == set()


def test_offline_uses_what_is_here_and_says_what_is_not(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    fetch(model(hub), silent)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    fetch(model(hub), silent)
    with pytest.raises(WeightsError, match="downloads are switched off"):
        fetch(model(hub, "someone/other"), silent)


def test_modelscope_needs_its_package(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "modelscope", None)
    with pytest.raises(MissingPackageError) as caught:
        fetch(model(hub, hub="modelscope"), silent)
    assert "requirements-modelscope.txt" in caught.value.hint


# --------------------------------------------------------------------------- what the preflight says of a download


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return lay_out(tmp_path / "place")


def test_nobody_signed_in_is_a_problem_for_a_gated_model(
    hub: Hub, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {"model": {"base": "flux-dev"}}
    problem = found(check(place, values), "no_token")
    assert (problem.level, problem.field) == ("problem", "model.base") and "hf auth login" in problem.hint
    monkeypatch.setenv("HF_TOKEN", "let-me-in")
    assert "no_token" not in codes(check(place, values))


def test_switched_off_downloads_are_a_problem(hub: Hub, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert found(check(place, {"model": {"base": "sd15"}}), "offline").field == "model.base"


def test_missing_package_of_modelscope_is_a_problem(hub: Hub, place: Path) -> None:
    values = {"model": {"base": "flux-schnell", "hub": "modelscope"}}
    assert found(check(place, values), "no_modelscope").field == "model.hub"


def test_downloaded_id_is_fine_only_when_it_is_whole(hub: Hub, place: Path) -> None:
    values = {"model": {"base": REPO, "family": "sd15", "endpoint": hub.address}}
    assert "download" in codes(check(place, values))
    fetch(model(hub), silent)
    assert found(check(place, values), "model").level == "ok"
    Path(source_of(model(hub)).configs, UNET).unlink()
    assert "download" in codes(check(place, values))
