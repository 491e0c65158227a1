"""From scores to pairs: what the weights, the margin, missing values and failures do."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.properties import properties
from tests.voters import grid, image, make_set, put, score, vote
from trainers.errors import ConfigError, DataError
from trainers.preferences import ranking
from trainers.preferences.pairing import LEAST_SPREAD, Rule, build_pairs, judge, rebuild, standardised
from trainers.preferences.prefset import Pair, Picture, Prefset, prompt_id_of

CAT = prompt_id_of("a cat")
ALL = Rule("all", margin=0, agree=0)


def cats(folder: Path, *names: str) -> Prefset:
    return make_set(folder / "set", {"a cat": names})


def winner(pair: Pair) -> str:
    """Image id of the winner, or "tie"."""
    assert pair.auto is not None
    return {"a": pair.a, "b": pair.b, "tie": "tie"}[pair.auto.winner]


def only(pairs: list[Pair]) -> Pair:
    (pair,) = pairs
    return pair


def test_scores_are_standardised_within_the_prompt() -> None:
    """1, 2, 6: mean 3, spread sqrt((4 + 1 + 9) / 3) = sqrt(14 / 3)."""
    spread = math.sqrt(14 / 3)
    assert standardised({"x": 1, "y": 2, "z": 6}) == pytest.approx(
        {"x": -2 / spread, "y": -1 / spread, "z": 3 / spread}
    )
    assert standardised({"x": 0.1, "y": 0.1, "z": 0.1}) == {"x": 0, "y": 0, "z": 0}


def test_combined_score_is_the_weighted_mean_of_standardised_ones(tmp_path: Path) -> None:
    """Two pictures are one spread from their mean: z is 1 and -1. Weights 3 and 1: (3 - 1) / 4 = 0.5 against -0.5."""
    prefset = cats(tmp_path, "x", "y")
    score(prefset, "hps", {"x": 0.3, "y": 0.2})
    score(prefset, "pick", {"x": 17.0, "y": 21.0})
    said = judge(prefset, Rule(weights={"hps": 3}))[CAT]
    assert said.combined == pytest.approx({image("x"): 0.5, image("y"): -0.5})
    auto = only(build_pairs(prefset, Rule(weights={"hps": 3}))).auto
    assert auto and (auto.margin, auto.agree) == (1.0, 0.5)


def test_weights_have_effect_on_generated_pictures(tmp_path: Path) -> None:
    prefset = cats(tmp_path, "x", "y", "z")
    score(prefset, "hps", {"x": 3, "y": 2, "z": 1})
    score(prefset, "anatomy", {"x": 1, "y": 2, "z": 3})
    for weights, best in (({"hps": 2.0}, "x"), ({"anatomy": 2.0}, "z"), ({"hps": 0.0}, "z"), ({"anatomy": 0.0}, "x")):
        assert winner(only(build_pairs(prefset, Rule(weights=weights, margin=0.1)))) == image(best), weights


def test_absent_part_is_left_out_and_not_zero(tmp_path: Path) -> None:
    """y has no hands to judge. It is the best for the other scorer, so it wins; with 0 for its hands it would lose."""
    prefset = cats(tmp_path, "x", "y", "z")
    score(prefset, "hps", {"x": 0.27, "y": 0.30, "z": 0.20})
    score(prefset, "anatomy", {"x": 0.8, "y": None, "z": 0.7})
    said = judge(prefset, Rule())[CAT]
    assert said.combined[image("y")] == said.z["hps"][image("y")]
    assert winner(only(build_pairs(prefset, Rule()))) == image("y")


def test_scorer_that_failed_does_not_reject(tmp_path: Path) -> None:
    """Without any value a picture makes no pair; it is not the worst one."""
    prefset = cats(tmp_path, "x", "y", "z")
    score(prefset, "hps", {"x": 0.3, "y": 0.2, "z": None})
    pairs = build_pairs(prefset, ALL)
    assert {(pair.a, pair.b) for pair in pairs} == {tuple(sorted((image("x"), image("y"))))}


def test_a_value_without_another_to_compare_says_nothing(tmp_path: Path) -> None:
    prefset = cats(tmp_path, "x", "y", "z")
    score(prefset, "hps", {"x": 3, "y": 2, "z": 1})
    score(prefset, "anatomy", {"x": 0.1, "y": None, "z": None})
    assert judge(prefset, Rule())[CAT].z.keys() == {"hps"}


def test_pair_below_the_margin_is_a_tie_or_left_out(tmp_path: Path) -> None:
    """z of 0, 1, 2, 10 as they stand: the first three lie within 2 / 3.96 = 0.51 spreads."""
    prefset = cats(tmp_path, "p", "q", "r", "s")
    score(prefset, "hps", {"p": 0, "q": 1, "r": 2, "s": 10})
    rule = Rule("all", margin=0.6)
    assert sum(winner(pair) == "tie" for pair in build_pairs(prefset, rule)) == 3
    decided = build_pairs(prefset, dataclasses.replace(rule, keep_ties=False))
    assert {winner(pair) for pair in decided} == {image("s")} and len(decided) == 3
    assert all(winner(pair) == "tie" for pair in build_pairs(prefset, dataclasses.replace(rule, margin=9)))


def test_equal_scores_are_a_tie_whatever_the_rule(tmp_path: Path) -> None:
    prefset = cats(tmp_path, "x", "y", "z")
    score(prefset, "hps", {"x": 0.1, "y": 0.1, "z": 0.1})
    assert [winner(pair) for pair in build_pairs(prefset, ALL)] == ["tie"] * 3


def test_share_of_the_scorers_must_agree(tmp_path: Path) -> None:
    """Two of three prefer x, the fourth has no opinion of y and does not count: 2 / 3."""
    prefset = cats(tmp_path, "x", "y", "z")
    for scorer, y in (("one", 1.0), ("two", 1.0), ("three", 3.0), ("four", None)):
        score(prefset, scorer, {"x": 2.0, "y": y, "z": 0.0})
    for agree, expected in ((0.66, image("x")), (0.67, "tie")):
        pairs = build_pairs(prefset, Rule("all", margin=0.1, agree=agree))
        pair = next(pair for pair in pairs if {pair.a, pair.b} == {image("x"), image("y")})
        assert winner(pair) == expected and pair.auto and pair.auto.agree == pytest.approx(2 / 3, abs=1e-6)


def test_pictures_that_no_scorer_has_both_seen_are_a_tie(tmp_path: Path) -> None:
    prefset = cats(tmp_path, "p", "q", "r", "s")
    score(prefset, "hps", {"p": 2, "q": 1})
    score(prefset, "pick", {"r": 2, "s": 1})
    pairs = {(pair.a, pair.b): winner(pair) for pair in build_pairs(prefset, ALL)}
    assert pairs[tuple(sorted((image("p"), image("s"))))] == "tie"  # type: ignore[index]
    assert pairs[tuple(sorted((image("p"), image("q"))))] == image("p")  # type: ignore[index]


def test_hardly_different_pictures_are_not_blown_up_to_the_usual_distance(tmp_path: Path) -> None:
    """Two pictures are always 2 spreads apart. Spreads are 1 and 0.01, the usual one 0.7072: 0.02 counts as 0.28."""
    prefset = make_set(tmp_path / "set", {"a cat": ["c1", "c2"], "a dog": ["d1", "d2"]})
    score(prefset, "hps", {"c1": 0.0, "c2": 2.0, "d1": 1.0, "d2": 1.02})
    margins = [pair.auto.margin for pair in build_pairs(prefset, Rule()) if pair.auto]
    usual = math.sqrt((1 + 0.01**2) / 2)
    assert margins == pytest.approx([2.0, 0.02 / (LEAST_SPREAD * usual)], abs=1e-5)


def test_which_pairs_a_rule_picks(tmp_path: Path) -> None:
    prefset = cats(tmp_path, "p", "q", "r", "s")
    score(prefset, "hps", {"q": 4, "s": 3, "p": 2, "r": 1})

    def of(which: str) -> set[frozenset[str]]:
        return {frozenset((pair.a, pair.b)) for pair in build_pairs(prefset, Rule(which))}  # type: ignore[arg-type]

    def named(*pairs: str) -> set[frozenset[str]]:
        return {frozenset(map(image, pair)) for pair in pairs}

    assert of("best_worst") == named("qr")
    assert of("neighbours") == named("qs", "sp", "pr")
    assert of("all") == named("pq", "pr", "ps", "qr", "qs", "rs")


def test_random_pairs_need_no_scores_and_stay_when_pictures_come(tmp_path: Path) -> None:
    prefset = grid(tmp_path / "set", 3, 6)
    rule = Rule("random", per_prompt=4, seed=7)
    pairs = build_pairs(prefset, rule)
    assert len({pair.pair_id for pair in pairs}) == 12
    assert all(pair.origin == "queue" and pair.auto is None for pair in pairs)
    assert build_pairs(Prefset(prefset.folder), rule) == pairs
    assert build_pairs(prefset, dataclasses.replace(rule, seed=8)) != pairs
    everything = Rule("random", per_prompt=100)
    before = [pair.pair_id for pair in build_pairs(prefset, everything)]
    grid(tmp_path / "set", 3, 7)
    prefset.refresh()
    after = [pair.pair_id for pair in build_pairs(prefset, everything)]
    assert len(after) == 3 * 21 and [one for one in after if one in set(before)] == before


def test_rebuilding_with_other_weights_needs_no_scoring(tmp_path: Path) -> None:
    prefset = grid(tmp_path / "set", 4, 5)
    names = [f"{p}-{n}" for p in range(4) for n in range(5)]
    score(prefset, "hps", {name: float(int(name[-1])) for name in names})
    score(prefset, "pick", {name: float(-int(name[-1])) for name in names})
    scores = (prefset.folder / "scores.jsonl").read_bytes()
    first = {pair.pair_id: winner(pair) for pair in rebuild(prefset, Rule(weights={"hps": 2}))}
    second = {pair.pair_id: winner(pair) for pair in rebuild(prefset, Rule(weights={"pick": 2}))}
    assert first.keys() == second.keys() and all(first[one] != second[one] for one in first)
    assert {one: winner(pair) for one, pair in Prefset(prefset.folder).pairs.items()} == second
    assert (prefset.folder / "scores.jsonl").read_bytes() == scores


def test_rebuilding_the_same_writes_nothing(tmp_path: Path) -> None:
    prefset = grid(tmp_path / "set", 3, 4)
    score(prefset, "hps", {f"{p}-{n}": math.sin(p + 4 * n) for p in range(3) for n in range(4)})
    rebuild(prefset, Rule("all"))
    written = (prefset.folder / "pairs.jsonl").read_bytes()
    rebuild(Prefset(prefset.folder), Rule("all"))
    assert (prefset.folder / "pairs.jsonl").read_bytes() == written


def test_pairs_that_the_rule_no_longer_makes_lose_their_winner_but_no_vote(tmp_path: Path) -> None:
    prefset = cats(tmp_path, "x", "y", "z")
    score(prefset, "hps", {"x": 3, "y": 2, "z": 1})
    rebuild(prefset, Rule("all"))
    pair = next(pair for pair in prefset.pairs.values() if {pair.a, pair.b} == {image("x"), image("y")})
    put(prefset, [vote(pair.pair_id, "ann", "a")])
    kept = only(rebuild(prefset, Rule("best_worst")))
    again = Prefset(prefset.folder)
    assert [one.pair_id for one in again.pairs.values() if one.auto] == [kept.pair_id]
    assert [one.pair_id for one in again.votes.standing()] == [pair.pair_id]


def test_random_pairs_come_on_top(tmp_path: Path) -> None:
    prefset = cats(tmp_path, "x", "y", "z")
    score(prefset, "hps", {"x": 3, "y": 2, "z": 1})
    best = only(rebuild(prefset, Rule()))
    rebuild(prefset, Rule("random", per_prompt=3))
    assert len(prefset.pairs) == 3 and prefset.pairs[best.pair_id].auto == best.auto


def test_real_pictures_are_not_paired_by_scores(tmp_path: Path) -> None:
    prefset = cats(tmp_path, "x", "y")
    prefset.add_pictures([Picture(image("photo"), CAT, "images/photo.png", 64, 64, "real")])
    score(prefset, "hps", {"x": 1, "y": 2, "photo": 9})
    for rule in (ALL, Rule("random")):
        pair = only(build_pairs(prefset, rule))
        assert {pair.a, pair.b} == {image("x"), image("y")}


def test_values_of_two_versions_of_a_scorer_are_not_compared(tmp_path: Path) -> None:
    prefset = cats(tmp_path, "x", "y", "z")
    score(prefset, "hps", {"x": 0.2, "y": 0.3})
    score(prefset, "hps", {"z": 20.0}, version="2")
    assert judge(prefset, Rule())[CAT].combined.keys() == {image("x"), image("y")}


def test_origin_of_pairs_that_were_brought_in_is_kept(tmp_path: Path) -> None:
    prefset = cats(tmp_path, "x", "y")
    score(prefset, "hps", {"x": 1, "y": 2})
    (pair,) = build_pairs(prefset, Rule())
    prefset.add_pairs([dataclasses.replace(pair, origin="compare", auto=None)])
    assert only(rebuild(prefset, Rule())).origin == "compare"


def test_faults_are_named_with_what_there_is(tmp_path: Path) -> None:
    prefset = cats(tmp_path, "x", "y")
    with pytest.raises(DataError, match="random pairs"):
        build_pairs(prefset, Rule())
    score(prefset, "hps", {"x": 1, "y": 2})
    with pytest.raises(ConfigError, match=r"weights.hsp.*hps"):
        build_pairs(prefset, Rule(weights={"hsp": 1}))
    with pytest.raises(ConfigError, match="all weights are 0"):
        build_pairs(prefset, Rule(weights={"hps": 0}))
    for values in ({"margin": -1}, {"agree": 1.1}, {"pairs": "some"}, {"weights": {"hps": -1}}, {"per_prompt": 0}):
        with pytest.raises(ConfigError):
            Rule(**values)  # type: ignore[arg-type]


@properties
@given(values=st.lists(st.one_of(st.none(), st.floats(-100, 100)), min_size=2, max_size=6), swap=st.booleans())
def test_the_winner_has_the_higher_score_whatever_the_ids(
    tmp_path_factory: pytest.TempPathFactory, values: list[float | None], swap: bool
) -> None:
    names = [f"{n}" for n in range(len(values))]
    prefset = cats(tmp_path_factory.mktemp("pairs"), *(reversed(names) if swap else names))
    score(prefset, "hps", dict(zip(names, values, strict=True)))
    of_id = {image(name): value for name, value in zip(names, values, strict=True)}
    if sum(value is not None for value in values) < 2:
        return
    for pair in build_pairs(prefset, ALL):
        a, b = of_id[pair.a], of_id[pair.b]
        assert a is not None and b is not None and pair.auto
        if pair.auto.winner != "tie":
            assert (a > b) == (pair.auto.winner == "a")
        json.dumps(dataclasses.asdict(pair), allow_nan=False)


def test_best_and_worst_say_what_follows_and_no_more(tmp_path: Path) -> None:
    """Of four: the best beats three, two others beat the worst; the two in the middle are not compared."""
    prefset = cats(tmp_path, *"pqrs")
    pictures = [image(name) for name in "pqrs"]
    said = ranking.best_and_worst(prefset, CAT, pictures, image("r"), image("p"))
    wins = {(pair.a if choice == "a" else pair.b, pair.b if choice == "a" else pair.a) for pair, choice in said}
    assert wins == {(image(w), image(o)) for w, o in ("rp", "rq", "rs", "qp", "sp")} and len(said) == 5
    with pytest.raises(DataError):
        ranking.best_and_worst(prefset, CAT, pictures, image("r"), image("r"))
    with pytest.raises(DataError):
        ranking.best_and_worst(prefset, CAT, pictures, image("r"), image("stranger"))


def test_best_and_worst_keeps_what_the_set_knows_of_a_pair(tmp_path: Path) -> None:
    prefset = cats(tmp_path, "x", "y")
    score(prefset, "hps", {"x": 1, "y": 2})
    pair = only(rebuild(prefset, Rule()))
    ((known, choice),) = ranking.best_and_worst(prefset, CAT, [image("x"), image("y")], image("x"), image("y"))
    assert known == pair and choice == ("a" if pair.a == image("x") else "b")
