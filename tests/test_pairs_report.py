"""The numbers of a comparison, from scores and votes that were made up; no model draws here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests import voters
from trainers import settings
from trainers.preferences import overview, plan, report
from trainers.preferences.agreement import wilson_interval
from trainers.preferences.background import Seen
from trainers.preferences.config import CompareConfig
from trainers.preferences.duels import Duel, duels_of
from trainers.preferences.plan import Wanted
from trainers.preferences.prefset import Picture, Prefset
from trainers.preferences.votes import Choice
from trainers.rundir import RunDir

Values = dict[str, float | None]


class Contest:
    """Pictures `reference 0-0`, `policy 0-0`, ... of prompts `prompt 0`, ...: the second number counts the seeds."""

    def __init__(self, root: Path, prompts: int = 4, each: int = 1, names: tuple[str, ...] = ("one",)) -> None:
        self.prefset, self.run = Prefset.create(root / "proof"), RunDir(root / "run")
        values = {"policy": {"file": "/x/better.safetensors"}, "reference": {"file": ""}}
        self.config = settings.validate(
            {**values, "scorers": {"names": list(names)}, "set": {"folder": str(root / "proof")}}, CompareConfig
        )
        self.run.create(settings.dump(self.config))
        written = self.prefset.add_prompts((f"prompt {number}", "") for number in range(prompts))
        todo = []
        for role in ("reference", "policy"):
            for number, prompt in enumerate(written):
                for index in range(each):
                    name, id = f"{role} {number}-{index}", prompt.prompt_id
                    todo.append(Wanted(id, prompt.prompt, "", index, f"images/{name}.png"))
                    self.prefset.add_pictures([Picture(voters.image(name), id, f"images/{name}.png", 64, 64)])
        plan.remember(self.run, todo)
        self.prefset.add_pairs(duel.pair for duel in self.duels())

    def duels(self) -> list[Duel]:
        return duels_of(self.run, self.prefset)

    def score(self, values: Values, scorer: str = "one", version: str = "1") -> None:
        voters.score(self.prefset, scorer, values, version)

    def vote(self, *said: str, annotator: str = "ann", repeat: bool = False, ts: float = 0.0) -> None:
        """What the person says of the pairs in order: policy, reference, or a choice that names no picture."""
        for duel, words in zip(self.duels(), said, strict=False):
            of_policy: Choice = "a" if duel.pair.a == duel.policy else "b"
            other: Choice = "b" if of_policy == "a" else "a"
            choice: Any = {"policy": of_policy, "reference": other}.get(words, words)
            voters.put(self.prefset, [voters.vote(duel.pair_id, annotator, choice, repeat=repeat, ts=ts)])

    def report(self) -> dict[str, Any]:
        return report.build(self.run, self.config, self.prefset, Seen(None, None))


def counts(found: dict[str, Any]) -> tuple[int, int, int]:
    return found["wins"], found["ties"], found["losses"]


@pytest.fixture
def contest(tmp_path: Path) -> Contest:
    return Contest(tmp_path)


# --------------------------------------------------------------------------- scorers


def test_the_policys_share_of_higher_scores_with_ties_as_halves(contest: Contest) -> None:
    contest.score({f"reference {n}-0": 1.0 for n in range(4)})
    contest.score({"policy 0-0": 2.0, "policy 1-0": 3.0, "policy 2-0": 1.0, "policy 3-0": 0.5})
    found = contest.report()
    one = found["scorers"]["one"]
    assert one["win_rate"] == found["win_rate"] == 0.625 and counts(one) == counts(found) == (2, 1, 1)
    assert (found["prompts"], found["pairs"], found["n"], found["by"]) == (4, 4, 4, "scorers")
    assert (one["low"], one["high"]) == pytest.approx(wilson_interval(2.5, 4), abs=1e-6)
    assert (one["mean_difference"], one["reference_mean"], one["policy_mean"]) == (0.625, 1.0, 1.625)
    assert one["difference_low"] < 0.625 < one["difference_high"] and found["human"] is None


def test_pairs_are_of_the_same_seed_and_not_of_the_best(tmp_path: Path) -> None:
    contest = Contest(tmp_path, prompts=1, each=2)
    contest.score({"reference 0-0": 1.0, "reference 0-1": 5.0, "policy 0-0": 2.0, "policy 0-1": 4.0})
    assert counts(contest.report()["scorers"]["one"]) == (1, 0, 1)


def test_pairs_of_a_prompt_are_not_taken_for_independent(tmp_path: Path) -> None:
    contest = Contest(tmp_path, prompts=5, each=10)
    contest.score({f"reference {p}-{n}": 0.0 for p in range(5) for n in range(10)})
    contest.score({f"policy {p}-{n}": 1.0 if p < 4 else -1.0 for p in range(5) for n in range(10)})
    found = contest.report()
    assert (found["n"], found["prompts_judged"], found["win_rate"]) == (50, 5, 0.8)
    assert (found["low"], found["high"]) == pytest.approx(wilson_interval(4, 5), abs=1e-6)


def test_no_opinion_is_neither_a_win_nor_a_loss(contest: Contest) -> None:
    contest.score({"reference 0-0": None, "reference 1-0": 1.0, "reference 2-0": 1.0})
    contest.score({"policy 0-0": 9.0, "policy 1-0": None, "policy 2-0": 2.0})
    found = contest.report()["scorers"]["one"]
    assert (found["n"], found["not_applicable"], counts(found)) == (1, 2, (1, 0, 0))


def test_scores_of_other_weights_are_not_compared(contest: Contest) -> None:
    contest.score({"reference 0-0": 1.0, "reference 1-0": 1.0})
    contest.score({"policy 0-0": 2.0}, version="2")
    contest.score({"policy 1-0": 2.0})
    assert contest.report()["scorers"]["one"]["n"] == 1


def test_overall_is_the_combined_score_of_all_scorers_that_were_asked(tmp_path: Path) -> None:
    """Two of three are for the policy; a scorer that nobody asked has no say, however sure it is."""
    contest = Contest(tmp_path, names=("one", "two", "three"))
    for scorer, sign in (("one", 1), ("two", 1), ("three", -1), ("stranger", -100)):
        contest.score({f"reference {n}-0": 0.0 for n in range(4)}, scorer)
        contest.score({f"policy {n}-0": float(sign) for n in range(4)}, scorer)
    found = contest.report()
    assert [found["scorers"][name]["win_rate"] for name in ("one", "two", "three")] == [1, 1, 0]
    assert found["win_rate"] == 1 and list(found["scorers"]) == ["one", "two", "three"]


def test_scorers_that_disagree_evenly_make_a_tie(tmp_path: Path) -> None:
    contest = Contest(tmp_path, names=("one", "two"))
    for scorer, sign in (("one", 1.0), ("two", -1.0)):
        contest.score({f"reference {n}-0": 0.0 for n in range(4)} | {f"policy {n}-0": sign for n in range(4)}, scorer)
    assert counts(contest.report()) == (0, 4, 0)


def test_other_pictures_of_the_set_change_nothing(tmp_path: Path) -> None:
    """A picture that is far off would widen what counts as usual, and so let the other scorer decide."""
    contest = Contest(tmp_path, names=("one", "two"))
    for scorer, sign in (("one", 1.0), ("two", -1.0)):
        contest.score({f"reference {n}-0": 0.0 for n in range(4)} | {f"policy {n}-0": sign for n in range(4)}, scorer)
    before = contest.report()
    for prompt_id in list(contest.prefset.prompts):
        contest.prefset.add_pictures([Picture(voters.image("another"), prompt_id, "images/another.png", 64, 64)])
    contest.score({"another": 50.0})
    assert contest.report() == before


# --------------------------------------------------------------------------- people


def test_people_judge_by_the_side_of_the_policy_whichever_it_is(tmp_path: Path) -> None:
    contest = Contest(tmp_path, prompts=12)
    assert {duel.pair.a == duel.policy for duel in contest.duels()} == {True, False}
    contest.vote(*["policy"] * 9, *["reference"] * 3)
    human = contest.report()["human"]
    assert (human["win_rate"], human["n"], counts(human)) == (0.75, 12, (9, 0, 3))
    assert (human["low"], human["high"]) == pytest.approx(wilson_interval(9, 12), abs=1e-6)


def test_ties_and_both_bad_are_halves_and_skips_are_nothing(contest: Contest) -> None:
    contest.vote("policy", "tie", "both_bad", "skip")
    human = contest.report()["human"]
    assert (counts(human), human["n"], human["both_bad"]) == ((1, 2, 0), 3, 1)
    assert human["win_rate"] == pytest.approx(2 / 3, abs=1e-6)


def test_what_most_people_find_bad_is_no_win_for_the_one_who_chose(contest: Contest) -> None:
    for annotator, said in (("ann", "policy"), ("bob", "both_bad"), ("eve", "both_bad")):
        contest.vote(said, annotator=annotator)
    assert counts(contest.report()["human"]) == (0, 1, 0)


def test_each_person_is_told_apart_and_a_pair_that_they_are_divided_about_is_a_tie(contest: Contest) -> None:
    contest.vote("policy", "policy")
    contest.vote("policy", "reference", annotator="bob")
    human = contest.report()["human"]
    assert counts(human) == (1, 1, 0)
    assert {name: one["win_rate"] for name, one in human["annotators"].items()} == {"ann": 1.0, "bob": 0.5}


def test_somebody_who_says_both_things_of_a_pair_has_said_nothing(contest: Contest) -> None:
    contest.vote("policy")
    contest.vote("reference", repeat=True)
    assert counts(contest.report()["human"]) == (0, 1, 0)


def test_without_scorers_people_decide(tmp_path: Path) -> None:
    contest = Contest(tmp_path, names=())
    found = contest.report()
    assert (found["by"], found["win_rate"], found["low"], found["high"], found["n"]) == ("people", None, 0, 1, 0)
    assert report.sentence(found) == "4 pairs, and nobody has judged them yet"
    contest.vote("policy", "policy", "policy", "reference")
    found = contest.report()
    assert (found["win_rate"], found["n"]) == (0.75, 4)
    assert report.sentence(found) == "policy preferred in 75 % of 4 pairs (95 % interval 30 to 95 %)"


def test_nothing_in_a_pair_tells_the_policy(tmp_path: Path) -> None:
    """a and b are in the order of the pictures' hashes: the policy is either as often."""
    contest = Contest(tmp_path, prompts=100)
    first = sum(duel.pair.a == duel.policy for duel in contest.duels())
    assert 35 <= first <= 65
    for pair in contest.prefset.pairs.values():
        told = json.dumps(vars(pair))
        assert "policy" not in told and "reference" not in told and pair.a < pair.b and pair.auto is None


# --------------------------------------------------------------------------- kept, and read again


def test_votes_that_come_later_are_read_and_scores_stay(contest: Contest) -> None:
    contest.score({f"{role} {n}-0": float(role == "policy") for role in ("reference", "policy") for n in range(4)})
    assert report.read_report(contest.run) is None, "there is none before the end"
    report.write(contest.run, contest.config, contest.prefset, Seen(1, 3))
    contest.vote("reference", "reference")
    kept = json.loads((contest.run.path / "compare.json").read_text())
    found = report.read_report(contest.run)
    assert kept["human"] is None and found and counts(found["human"]) == (0, 0, 2)
    assert found == report.read_report(contest.run, contest.prefset)
    assert {key: value for key, value in found.items() if key != "human"} == {
        key: value for key, value in kept.items() if key != "human"
    }
    assert (found["trained_on"], found["held_out"]) == (1, 3)


def test_where_the_set_is_gone_the_kept_numbers_are_told(contest: Contest) -> None:
    contest.score({"reference 0-0": 1.0, "policy 0-0": 2.0})
    kept = report.write(contest.run, contest.config, contest.prefset, Seen(None, None))
    (contest.prefset.folder / "set.json").unlink()
    assert report.read_report(contest.run) == kept


def test_a_run_of_another_kind_has_no_report(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    assert report.read_report(run) is None
    run.create('kind = "score"\n')
    (run.path / "compare.json").write_text("{}")
    assert report.read_report(run) is None


def test_the_table_says_who_judged_and_what_is_not_known(contest: Contest) -> None:
    contest.score({"reference 0-0": 1.0, "policy 0-0": 2.0, "reference 1-0": 1.0, "policy 1-0": None})
    contest.vote("policy", "both_bad")
    told = "\n".join(overview.proof(contest.report()))
    lines = {line.split()[0]: line.split() for line in told.splitlines()}
    assert lines["one"][:3] == ["one", "100", "%"] and "+1" in lines["one"]
    assert lines["people"][1:3] == ["75", "%"] and lines["ann"][1:3] == ["75", "%"]
    assert "better against the base alone: 4 pairs of 4 prompts." in told
    assert "Nothing is known of the prompts" in told and "both bad in 1 pairs" in told
    assert told.endswith(str(contest.prefset.folder))
