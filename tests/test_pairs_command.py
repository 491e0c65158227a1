"""`python launch.py pairs ...` and `resume`: what they print, and their exit codes. The sandbox draws and judges."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from trainers import cli as trainers_cli
from trainers.draw import Drawer
from trainers.errors import EXIT_DONE, EXIT_FAILED, EXIT_STOPPED, EXIT_USAGE
from trainers.preferences import cli
from trainers.preferences.prefset import Prefset
from trainers.preferences.votes import Vote, left_of

PROMPTS = ("a red circle on the left, white background", "a blue square in the middle, grey background")
SMALL = ["per_prompt=3", "steps=2"]

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ATELIER_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prompts.txt").write_text("\n".join(PROMPTS))
    return tmp_path / "data"


def pairs(*words: str) -> int:
    return cli.main(["pairs", *words])


def run_dir(data: Path, name: str) -> Path:
    return next(path for path in (data / "runs").iterdir() if path.name.startswith(name))


def vote(prefset: Prefset, annotator: str = "ann") -> None:
    """One person for a in every pair."""
    for pair in prefset.pairs.values():
        left = left_of(pair.pair_id, annotator)
        prefset.votes.add(Vote(f"{annotator}-{pair.pair_id}", pair.pair_id, annotator, "a", left, ms=900, ts=1.0))


def test_from_prompts_to_pairs_to_train_on(data: Path, tmp_path: Path, capsys: Capture) -> None:
    assert pairs("generate", "shapes", "prompts.file=prompts.txt", *SMALL) == EXIT_DONE
    out, err = capsys.readouterr()
    assert out == "drawn 6 of 6; the set has 6 pictures of 2 prompts\n" and "6 pictures of 2 prompts, " in err
    assert pairs("score", "shapes", "sandbox", "sandbox:higher", "batch_size=4") == EXIT_DONE
    assert capsys.readouterr().out == "scored 12\n"
    folder = data / "preferences" / "shapes"
    scores = (folder / "scores.jsonl").read_bytes()

    assert pairs("build", "shapes", "sandbox=0", "sandbox:higher=1", "pairs=all", "margin=0") == EXIT_DONE
    assert capsys.readouterr().out.startswith("6 pairs")
    winners = [pair.auto.winner for pair in Prefset(folder).pairs.values() if pair.auto]
    assert len(winners) == 6 and {"a", "b"} & set(winners)
    assert pairs("build", "shapes", "sandbox=0", "pairs=all", "margin=1e9") == EXIT_DONE
    assert capsys.readouterr().out == "6 pairs, 6 of them ties\n"
    assert (folder / "scores.jsonl").read_bytes() == scores, "pairs are made anew without scoring"

    assert pairs("export", "shapes") == EXIT_USAGE
    assert "6 pairs and 0 votes" in capsys.readouterr().err
    vote(Prefset(folder))
    assert pairs("stats", "shapes") == EXIT_DONE
    out = capsys.readouterr().out
    assert out.startswith("2 prompts, 6 pictures, 6 pairs, 6 answered\n6 votes: 6 decided, ") and "ann: 6 votes" in out
    assert pairs("export", "shapes", "held_out=0", "--out", "mine.jsonl") == EXIT_DONE
    out, err = capsys.readouterr()
    assert out == f"{tmp_path / 'mine.jsonl'}\n" and err == "6 rows\n"
    rows = [json.loads(line) for line in (tmp_path / "mine.jsonl").read_text().splitlines()]
    assert {row["split"] for row in rows} == {"train"} and {row["prompt"] for row in rows} == set(PROMPTS)
    assert pairs("export", "shapes", "--format", "jsonl") == EXIT_DONE

    assert pairs("import", str(folder), "--set", "./copy") == EXIT_DONE
    err = capsys.readouterr().err
    assert "prefset.v1: added 2 prompts, 6 pictures, 6 pairs, 6 votes" in err
    assert len(Prefset(tmp_path / "copy").votes.standing()) == 6


def test_a_set_without_scores_can_be_paired_at_random(data: Path, capsys: Capture) -> None:
    pairs("generate", "set.folder=shapes", "prompts.file=prompts.txt", *SMALL)
    assert pairs("build", "shapes") == EXIT_USAGE and "random" in capsys.readouterr().err
    assert pairs("build", "shapes", "pairs=random", "per_prompt=2") == EXIT_DONE
    assert capsys.readouterr().out == "4 pairs, 4 without scores\n"


def test_the_same_command_again_draws_only_what_is_new(data: Path, capsys: Capture) -> None:
    for count, drawn in ((2, 4), (3, 2), (3, 0)):
        assert pairs("generate", "shapes", "prompts.file=prompts.txt", f"per_prompt={count}", "steps=2") == EXIT_DONE
        said = f"drawn {drawn} of {drawn}" if drawn else "nothing was missing"
        assert capsys.readouterr().out.startswith(f"{said}; the set has ")
    assert sorted(path.name for path in (data / "runs").iterdir()) == [
        "generate-shapes",
        "generate-shapes-2",
        "generate-shapes-3",
    ]


def test_ctrl_c_stops_and_resume_goes_on(data: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = Drawer.draw_batch

    def interrupted(self: Drawer, requests: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        return draw(self, requests)

    monkeypatch.setattr(Drawer, "draw_batch", interrupted)
    words = ["shapes", "prompts.file=prompts.txt", *SMALL, "batch_size=2"]
    assert pairs("generate", *words) == EXIT_STOPPED
    out, err = capsys.readouterr()
    assert out.startswith("drawn 2 of 6; ") and f"launch.py resume {run_dir(data, 'generate')}" in err
    monkeypatch.setattr(Drawer, "draw_batch", draw)
    assert trainers_cli.main(["resume", str(run_dir(data, "generate"))]) == EXIT_DONE
    assert capsys.readouterr().out == "drawn 6 of 6; the set has 6 pictures of 2 prompts\n"


def test_a_job_that_fails_says_why_and_how_to_go_on(
    data: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Drawer, requests: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Drawer, "draw_batch", broken)
    assert pairs("generate", "shapes", "prompts.file=prompts.txt", *SMALL) == EXIT_FAILED
    assert "The disk is full. Free some space, then continue." in capsys.readouterr().err


def test_scorers_are_listed_in_120_columns(capsys: Capture) -> None:
    assert pairs("scorers") == EXIT_DONE
    lines = capsys.readouterr().out.splitlines()
    assert {"hpsv2.1", "pickscore", "sandbox"} <= {line.split(" ")[0] for line in lines}
    assert max(map(len, lines)) <= 120 and any("sandbox:higher" in line for line in lines)


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["generate", "one", "two"], "two: this is not of the form key=value."),
        (["generate", "shapes"], "prompts.texts: there is nothing to draw."),
        (["generate", "prompts.file=prompts.txt"], "set.folder: it is empty."),
        (["score", "nowhere", "sandbox"], "holds no preference set"),
        (["score", "nowhere"], "scorers.names: nobody is to judge the pictures."),
        (["stats", "nowhere"], "holds no preference set"),
        (["build", "made", "nonsense=1"], "nonsense"),
        (["build", "made", "sandbox=much"], "sandbox: 'much' is no number."),
        (["build", "made", "margin=wide"], "margin: 'wide' cannot be used."),
        (["build", "made", "pairs=some"], "pairs: 'some' cannot be used."),
        (["export", "made", "nonsense=1"], "nonsense: there is no such setting. There are sources, "),
        (["export", "made", "sources=dreams"], "sources: 'dreams' cannot be used."),
        (["export", "made", "held_out"], "held_out: this is not of the form key=value."),
        (["import", "nowhere", "--set", "made"], "There is no "),
        (["compare", "nowhere", "set.folder=proof"], "policy.file: there is no file or run"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_done_is_said_with_exit_code_2(words: list[str], part: str, data: Path, capsys: Capture) -> None:
    Prefset.create(data / "preferences" / "made")
    assert pairs(*words) == EXIT_USAGE
    err = capsys.readouterr().err
    assert part in err and "Traceback" not in err


def test_a_run_of_that_name_is_not_overwritten(data: Path, capsys: Capture) -> None:
    words = ["generate", "shapes", "prompts.file=prompts.txt", *SMALL, "run.name=mine"]
    assert pairs(*words) == EXIT_DONE
    assert pairs(*words) == EXIT_USAGE and "launch.py resume" in capsys.readouterr().err
