"""A preference set and its votes on disk: nothing that was answered is lost, whoever writes and whatever dies."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.voters import every_pair, grid, image, make_set, score, vote
from trainers.errors import DataError
from trainers.preferences import lines
from trainers.preferences.prefset import Prefset, make_pair, pair_id_of, prompt_id_of
from trainers.preferences.votes import VoteLog, left_of

ROOT = Path(__file__).parent.parent
VOTER = """
import dataclasses, itertools, sys
from pathlib import Path
from trainers.preferences.votes import Vote, VoteLog
log, name, most = VoteLog(Path(sys.argv[1])), sys.argv[2], int(sys.argv[3])
for n in itertools.islice(itertools.count(), most):
    log.add(Vote(f"{name}-{n}", f"pair {n} " + "long " * (n % 50), name, "a", "b"))
    print(f"{name}-{n}", flush=True)
"""
FULL_DISK = """
import resource, sys
from pathlib import Path
from trainers.preferences.votes import Vote, VoteLog
log = VoteLog(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (700, resource.RLIM_INFINITY))
for n in range(100):
    log.add(Vote(f"ann-{n}", f"pair {n}", "ann", "a", "b"))
    print(f"ann-{n}", flush=True)
"""


def start(program: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def told(process: subprocess.Popen[str]) -> list[str]:
    """Ids that it said were written, to the end."""
    out, _ = process.communicate(timeout=60)
    return out.split()


def ids(log: VoteLog) -> list[str]:
    return [each.vote_id for each in log.events()]


# ---------------------------------------------------------------------- lines


def test_torn_line_takes_no_other_with_it(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    lines.append(path, [{"n": 1}])
    with path.open("ab") as file:
        file.write('{"n": 2, "text": "ü'.encode()[:-1])
    tail = lines.Tail(path)
    assert tail.fresh() == [{"n": 1}]
    lines.append(path, [{"n": 3}])
    assert tail.fresh() == [{"n": 3}]
    assert lines.Tail(path).fresh() == [{"n": 1}, {"n": 3}]


def test_whole_line_without_its_end_counts_once_it_is_ended(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"n": 1}')
    assert lines.Tail(path).fresh() == []
    lines.append(path, [{"n": 2}])
    assert lines.Tail(path).fresh() == [{"n": 1}, {"n": 2}]


def test_tail_gives_each_record_once(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    tail = lines.Tail(path)
    assert tail.fresh() == []
    lines.append(path, ({"n": n, "text": "x" * 1000} for n in range(3000)))
    assert [record["n"] for record in tail.fresh()] == list(range(3000))
    lines.append(path, [])
    assert tail.fresh() == []


def test_text_comes_back_as_it_was(tmp_path: Path) -> None:
    path, text = tmp_path / "a.jsonl", "line\nbreak\r\u2028 猫 \udcff"
    lines.append(path, [{"text": text}])
    assert lines.Tail(path).fresh() == [{"text": text}]
    with pytest.raises(ValueError):
        lines.append(path, [{"v": float("nan")}])
    assert len(lines.Tail(path).fresh()) == 1


def test_line_is_on_the_disk_before_the_call_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, synced = tmp_path / "a.jsonl", []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(os.fstat(handle).st_size))
    lines.append(path, [{"n": 1}])
    lines.append(path, [{"n": 2}])
    assert synced == [9, 18]


def test_full_disk_is_told_and_loses_no_vote_that_was_said_to_be_written(tmp_path: Path) -> None:
    path = tmp_path / "votes.jsonl"
    process = start(FULL_DISK, path)
    out, errors = process.communicate(timeout=60)
    assert process.returncode and "OSError" in errors
    written = out.split()
    assert written and ids(VoteLog(path)) == written
    log = VoteLog(path)
    log.add(vote("later", "bob", "a"))
    assert len(ids(VoteLog(path))) == len(written) + 1


# ---------------------------------------------------------------------- votes


def test_killed_voter_loses_no_answered_vote(tmp_path: Path) -> None:
    path = tmp_path / "votes.jsonl"
    process = start(VOTER, path, "ann", 1_000_000)
    assert process.stdout
    answered = [process.stdout.readline().strip() for _ in range(40)]
    process.kill()
    answered += told(process)
    found = ids(VoteLog(path))
    assert len(answered) >= 40 and found[: len(answered)] == answered
    assert len(found) <= len(answered) + 1, "at most the one that was under way"


def test_two_processes_append_to_one_log(tmp_path: Path) -> None:
    path = tmp_path / "votes.jsonl"
    log = VoteLog(path)
    voters = [start(VOTER, path, name, 150) for name in ("ann", "bob")]
    while any(voter.poll() is None for voter in voters):
        log.events()
        time.sleep(0.01)
    written = [told(voter) for voter in voters]
    assert all(len(one) == 150 for one in written)
    for seen in (ids(log), ids(VoteLog(path))):
        assert [one for one in seen if one.startswith("ann")] == written[0]
        assert [one for one in seen if one.startswith("bob")] == written[1]
        assert len(seen) == 300


def test_sending_a_vote_again_does_no_harm(tmp_path: Path) -> None:
    log = VoteLog(tmp_path / "votes.jsonl")
    assert log.add(vote("pair", "ann", "a"))
    assert not log.add(vote("pair", "ann", "a"))
    assert not VoteLog(tmp_path / "votes.jsonl").add(vote("pair", "ann", "a"))
    assert len((tmp_path / "votes.jsonl").read_text().splitlines()) == 1


def test_undo_takes_back_only_that_vote_and_only_once(tmp_path: Path) -> None:
    log = VoteLog(tmp_path / "votes.jsonl")
    first, second = vote("pair", "ann", "a", ts=1.0), vote("pair", "ann", "b", ts=2.0)
    log.add(first)
    log.add(second)
    log.add(vote("other", "ann", "tie", ts=3.0))
    assert [one.choice for one in log.standing()] == ["b", "tie"]
    assert not log.undo(second.vote_id, "bob", tombstone_id="g0", ts=4.0), "of somebody else"
    assert not log.undo("unknown", "ann", tombstone_id="g0", ts=4.0)
    assert log.undo(second.vote_id, "ann", tombstone_id="g1", ts=4.0)
    assert not log.undo(second.vote_id, "ann", tombstone_id="g2", ts=5.0)
    assert not log.undo("g1", "ann", tombstone_id="g3", ts=5.0), "a tombstone is no vote"
    for one in (log, VoteLog(tmp_path / "votes.jsonl")):
        assert {each.pair_id: each.choice for each in one.standing()} == {"pair": "a", "other": "tie"}
    assert len(log.events()) == 4, "nothing is ever taken out of the log"


def test_undone_vote_is_not_undone_when_it_is_sent_again(tmp_path: Path) -> None:
    log = VoteLog(tmp_path / "votes.jsonl")
    log.add(vote("pair", "ann", "a"))
    log.undo(vote("pair", "ann", "a").vote_id, "ann", tombstone_id="grave", ts=1.0)
    assert not log.add(vote("pair", "ann", "a"))
    assert log.standing() == []


def test_last_vote_of_a_person_counts_and_repeats_apart(tmp_path: Path) -> None:
    log = VoteLog(tmp_path / "votes.jsonl")
    log.add(vote("pair", "ann", "skip", ts=1.0))
    log.add(vote("pair", "bob", "b", ts=2.0))
    log.add(vote("pair", "ann", "b", repeat=True, ts=3.0))
    log.add(vote("pair", "ann", "a", ts=4.0))
    assert [(one.annotator, one.choice, one.repeat) for one in log.standing()] == [
        ("bob", "b", False),
        ("ann", "b", True),
        ("ann", "a", False),
    ]


def test_votes_of_a_newer_version_are_read_and_what_is_no_vote_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "votes.jsonl"
    good = dataclasses.asdict(vote("pair", "ann", "a"))
    bad = [{"vote_id": "1"}, good | {"vote_id": "2", "choice": "left"}, {k: v for k, v in good.items() if k != "left"}]
    lines.append(path, [*bad, good | {"mood": "happy"}, {"event": "something new"}])
    assert VoteLog(path).standing() == [vote("pair", "ann", "a")]


def test_sides_are_blind_stable_and_flipped_when_a_pair_comes_again() -> None:
    pairs = [pair_id_of(image(str(n)), image(str(-n)), "prompt") for n in range(4000)]
    for name in ("ann", "bob"):
        sides = [left_of(pair, name) for pair in pairs]
        assert sides == [left_of(pair, name) for pair in pairs]
        assert sides.count("a") / 4000 == pytest.approx(0.5, abs=0.03)
        assert all(left_of(pair, name, repeat=True) != side for pair, side in zip(pairs, sides, strict=True))
    alike = sum(left_of(pair, "ann") == left_of(pair, "bob") for pair in pairs)
    assert alike / 4000 == pytest.approx(0.5, abs=0.03), "one person's side tells nothing of another's"


# ---------------------------------------------------------------------- sets


def test_pair_is_the_same_in_both_orders_and_another_for_another_prompt() -> None:
    one, other = image("x"), image("y")
    assert make_pair(one, other, "p", "auto") == make_pair(other, one, "p", "auto")
    assert pair_id_of(one, other, "p") != pair_id_of(one, other, "q")
    pair = make_pair(one, other, "p", "auto")
    assert [pair.a, pair.b] == sorted((one, other))


def test_prompts_with_another_negative_are_apart() -> None:
    assert prompt_id_of("a cat") == prompt_id_of("a cat", "") != prompt_id_of("a cat", "blurred")
    assert prompt_id_of("ab", "c") != prompt_id_of("a", "bc")


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.json*")}


def test_adding_again_adds_nothing(tmp_path: Path) -> None:
    prefset = grid(tmp_path / "set", 3, 3)
    every_pair(prefset)
    before = files(prefset.folder)
    every_pair(grid(tmp_path / "set", 3, 3))
    assert files(prefset.folder) == before


def test_reader_follows_what_another_process_appends(tmp_path: Path) -> None:
    reader = grid(tmp_path / "set", 2, 2)
    writer = grid(tmp_path / "set", 3, 4)
    every_pair(writer)
    score(writer, "hps", {"0-0": 0.5, "0-1": None})
    reader.refresh()
    for name in ("prompts", "pictures", "pairs", "scores"):
        assert getattr(reader, name) == getattr(writer, name)
    assert [one.image_id for one in reader.pictures_of(prompt_id_of("prompt 0"))] == [image(f"0-{n}") for n in range(4)]


def test_last_score_and_last_pair_count(tmp_path: Path) -> None:
    prefset = make_set(tmp_path / "set", {"a cat": ["x", "y"]})
    (pair,) = every_pair(prefset)
    score(prefset, "hps", {"x": 0.1})
    score(prefset, "hps", {"x": 0.2}, version="2")
    prefset.add_pairs([dataclasses.replace(pair, origin="import")])
    again = Prefset(prefset.folder)
    assert [(one.v, one.version) for one in again.scores.values()] == [(0.2, "2")] and again.scorers() == ["hps"]
    assert [one.origin for one in again.pairs.values()] == ["import"]


def test_same_picture_for_two_prompts_belongs_to_both(tmp_path: Path) -> None:
    prefset = make_set(tmp_path / "set", {"a cat": ["x", "y"], "a dog": ["x"]})
    for one in (prefset, Prefset(prefset.folder)):
        assert [picture.image_id for picture in one.pictures_of(prompt_id_of("a dog"))] == [image("x")]
        assert len(one.pictures_of(prompt_id_of("a cat"))) == 2 and len(one.pictures) == 2


def test_fields_of_a_newer_version_do_no_harm(tmp_path: Path) -> None:
    prefset = make_set(tmp_path / "set", {"a cat": ["x", "y"]})
    every_pair(prefset)
    for name in ("prompts", "images", "pairs"):
        path = prefset.folder / f"{name}.jsonl"
        text = [json.dumps(json.loads(line) | {"new": {"deep": 1}}) for line in path.read_text().splitlines()]
        path.write_text("\n".join(text) + "\n")
    again = Prefset(prefset.folder)
    assert again.pairs == prefset.pairs and again.pictures == prefset.pictures and again.prompts == prefset.prompts


@pytest.mark.parametrize("text", [None, "", "[]", "{}", '{"schema": "prefset.v9"}'])
def test_folder_without_a_set_is_refused_with_the_remedy(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "set.json").write_text(text)
    with pytest.raises(DataError) as caught:
        Prefset(tmp_path)
    assert caught.value.hint


def test_nothing_in_a_set_says_which_picture_is_better(tmp_path: Path) -> None:
    prefset = make_set(tmp_path / "set", {"a cat": ["x", "y"]})
    (pair,) = every_pair(prefset)
    prefset.votes.add(vote(pair.pair_id, "ann", "b"))
    words: Sequence[str] = ("chosen", "rejected", 'winner": "b', "preferred")
    assert not any(word in path.read_text() for path in prefset.folder.glob("*.jsonl") for word in words)
