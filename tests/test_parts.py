"""The table of a base model's files: what is found, what is missing, and what the page may ask."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from app.services import parts
from app.services.parts import Parts, parts_of_model
from app.services.studio import Studio
from app.ui import shell
from app.ui.draft import DraftEditor
from app.ui.widgets.parts import server_function
from tests.test_services import MACHINE
from tests.tiny import make_flux
from trainers import resolve
from trainers.catalog import MODELS
from trainers.config import Model
from trainers.weights.parts import PartSpec, PartState

VAE = PartSpec("vae", "VAE", ("ae.safetensors", "vae.safetensors"), 0.31, "Apache-2.0", False, "owner/name", "vae")


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    return Studio(tmp_path / "data", machine=MACHINE)


def model_of(base: str, **more: Any) -> Model:
    return resolve.resolve(resolve.validate({"model": {"base": base, **more}}), MACHINE).model


def table(monkeypatch: pytest.MonkeyPatch, found: str, base: str = "flux-dev") -> Parts:
    monkeypatch.setattr(parts, "parts_found", lambda model: [PartState(VAE, found)])
    return parts_of_model(Model(base=base))


def test_every_model_that_is_downloaded_has_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainers.weights.source.snapshot", lambda *_: None)  # nothing was downloaded
    for name, model in MODELS.items():
        made = parts_of_model(Model(base=name, family=model.family))
        assert bool(made.parts) != model.built_in, name
        assert not made.by_hand and not any(part.found for part in made.parts), name
        if made.parts:
            first = made.parts[0]
            assert (first.licence, first.gated) == (model.licence, model.gated)
            assert first.page == f"https://huggingface.co/{model.source}"


def test_a_folder_has_the_parts_that_are_whole(tmp_path: Path) -> None:
    base = make_flux(tmp_path / "my" / "flux")
    names = ("transformer", "vae", "text_encoder", "text_encoder_2")
    whole = parts_of_model(model_of(str(base)))
    assert [part.place for part in whole.parts] == [f"flux/{name}" for name in names]
    for file in (base / "text_encoder_2").glob("*.safetensors"):
        file.unlink()
    shutil.rmtree(base / "vae")
    assert [bool(part.found) for part in parts_of_model(model_of(str(base))).parts] == [True, False, True, False]


def test_a_file_is_told_by_the_end_of_its_path_and_its_page(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "models" / "vae" / "ae.safetensors"
    here = table(monkeypatch, str(file)).parts[0]
    assert (here.found, here.place, here.file) == (str(file), "vae/ae.safetensors", "ae.safetensors")
    missing = table(monkeypatch, "").parts[0]
    assert (missing.found, missing.place, missing.folder) == ("", "", "models/vae")
    assert missing.page == "https://huggingface.co/owner/name"


def test_a_mirror_of_the_hub_has_the_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "parts_found", lambda model: [PartState(VAE, "")])
    made = parts_of_model(Model(base="flux-dev", endpoint="https://hf-mirror.com/"))
    assert made.parts[0].page == "https://hf-mirror.com/owner/name"


def test_a_download_is_told_by_its_name_and_not_by_its_hash(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    snapshot = tmp_path / "models--black-forest-labs--FLUX.1-dev" / "snapshots" / "0123abc"
    (snapshot / "vae").mkdir(parents=True)
    (snapshot / "model_index.json").write_text("{}")
    for name in ("config.json", "diffusion_pytorch_model.safetensors"):
        (snapshot / "vae" / name).write_bytes(b"")
    assert table(monkeypatch, str(snapshot)).parts[0].place == "FLUX.1-dev/vae"


def test_missing_parts_of_a_checkpoint_file_are_put_there_by_hand(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "own.safetensors"
    file.write_bytes(b"")
    made = table(monkeypatch, "", str(file))
    assert made.by_hand and made.models.endswith("models")


def test_the_page_asks_about_the_draft_alone_whatever_else_is_wrong(studio: Studio, tmp_path: Path) -> None:
    editor = DraftEditor(studio)
    ask = server_function(studio, editor)
    assert ask(0)["parts"] == []
    editor.edit({"model.base": str(make_flux(tmp_path / "flux")), "data.folder": "/no/such", "adapter.rank": "0"})
    for asked in (0, None, "/etc", {"base": "sdxl"}):
        assert [part["title"] for part in ask(asked)["parts"]][1:3] == ["VAE", "CLIP-L"]
    editor.edit({"model.base": "/no/such/model"})
    assert ask(0) == {"parts": [], "by_hand": False, "models": ""}


def test_a_typed_base_is_chosen_as_by_its_card(studio: Studio) -> None:
    page = shell.build(studio)
    field = next(block for block in page.blocks.values() if getattr(block, "elem_id", "") == "t-model-base")
    chosen = next(fn for fn in page.fns.values() if any(target == (field._id, "blur") for target in fn.targets))
    editor = DraftEditor(studio)
    before = editor.current()
    chosen.fn(before.after["model"]["base"])
    assert editor.current() == before, "a field that was only visited changes nothing"
    chosen.fn("sdxl")
    now = editor.current()
    assert now.after["model"]["base"] == "sdxl" and now.preset != before.preset
    chosen.fn("  ")
    assert editor.current().after["model"]["base"] == "sandbox"
