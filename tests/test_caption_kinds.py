"""Each kind of captioner through the command line: from a folder of its published layout to caption files.

The weights are random, so only the way is judged: configuration, checks, loading, questions, texts, files.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from captioners import cli
from captioners.catalog import CAPTIONERS
from tests import tiny_llava, toy_tagger
from tests.stub_server import StubServer
from tests.test_caption_job import draw
from tests.test_florence2_legacy import old_weights, save_old
from tests.test_qwen_vl import publish
from tests.tiny_captioners_florence import save_blip, save_blip2, save_florence
from trainers.errors import EXIT_DONE
from trainers.events import Captioned
from trainers.rundir import RunDir, all_records

COUNT = 3
KNOWN = ("the model wrote nothing", "the model repeated itself without end", "no tag is likelier than the thresholds")
FEW = "max_tokens=6"
Made = Callable[[Path], object]


def save_older(folder: Path) -> None:
    """Florence-2 as Microsoft published it."""
    save_old(folder, old_weights(save_florence(folder.with_name("native")).state_dict()))


# captioner, its files, further wishes
KINDS: dict[str, tuple[str, Made | None, tuple[str, ...]]] = {
    "sandbox": ("sandbox", None, ()),
    "florence2": ("florence2-base", save_florence, (FEW, "task=detailed")),
    "florence2, older files": ("florence2-large-no-flash", save_older, (FEW, "task=caption")),
    "joycaption": ("joycaption-beta-one", tiny_llava.make_llava, (FEW, "length=short")),
    "joycaption in 4 bits": ("joycaption-beta-one", tiny_llava.make_llava, (FEW, "quantize=nf4")),
    "joycaption_folders": ("joycaption-alpha-two-folders", tiny_llava.make_folders, (FEW,)),
    "wd": ("wd-swinv2", toy_tagger.wd_folder, ("general=0.05", "character=0.05")),
    "blip": ("blip-base", save_blip, (FEW,)),
    "blip2": ("blip2", lambda folder: save_blip2(folder, "opt"), (FEW, "prompt.text=Question: what is it? Answer:")),
    "qwen_vl": ("qwen3-vl-2b", lambda folder: publish("qwen3_vl", folder), (FEW, "prompt.text=Which of {tags}?")),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ATELIER_DATA_DIR", str(tmp_path / "data"))
    draw(tmp_path / "scenes", COUNT)
    return tmp_path / "scenes"


def pictures(data: Path) -> list[Captioned]:
    """What the job told of each picture."""
    (run,) = (data / "runs").iterdir()
    batches = (record for record in all_records(RunDir(run).events) if record["kind"] == "batch_captioned")
    return [Captioned(**picture) for batch in batches for picture in batch["pictures"]]


def test_every_kind_goes_this_way() -> None:
    covered = {CAPTIONERS[name].kind for name, _, _ in KINDS.values()} | {"server"}
    assert covered == {spec.kind for spec in CAPTIONERS.values()}


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_of_pictures_gets_its_captions(kind: str, folder: Path, tmp_path: Path) -> None:
    name, make, wishes = KINDS[kind]
    source: tuple[str, ...] = ()
    if make:
        make(tmp_path / "model")
        source = (f"captioner.source={tmp_path / 'model'}",)
    assert cli.main(["caption", name, str(folder), *source, "run.threads=1", *wishes]) == EXIT_DONE
    told = pictures(tmp_path / "data")
    # random weights may say nothing that is a caption; then that is what is told, and nothing is written
    assert [one.name for one in told] == [f"p{number:02}.png" for number in range(COUNT)]
    for one in told:
        file = (folder / one.name).with_suffix(".txt")
        assert one.status == ("written" if file.exists() else "failed")
        assert file.read_text("utf-8") == one.after if file.exists() else one.reason in KNOWN
    assert any(one.said for one in told)


def test_a_server_gets_the_pictures_and_gives_the_captions(folder: Path, tmp_path: Path) -> None:
    with StubServer() as server:
        wishes = [f"server.url={server.url}", "person=zwx", "cost_free=true", "run.name=free"]
        assert cli.main(["caption", "server", str(folder), *wishes, "server.model=stub"]) == EXIT_DONE
        assert server.asked == [] and not list(folder.glob("*.txt"))
        assert cli.main(["caption", "server", str(folder), *wishes[:2]]) == EXIT_DONE
        assert len(server.questions) == COUNT
    assert len(list(folder.glob("*.txt"))) == COUNT
