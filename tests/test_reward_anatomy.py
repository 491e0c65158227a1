"""Anatomy: which parts have to be seen, what is punished, and how many people there are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from trainers.preferences.rewards.anatomy import Anatomy
from trainers.preferences.rewards.anatomy_parts import (
    FEET,
    HANDS,
    Calibration,
    Weights,
    anatomy,
    loose_hands,
    parts,
    people_asked_for,
)
from trainers.preferences.rewards.rtmlib_backend import DWPOSE, RTMW
from trainers.preferences.rewards.vitpose_backend import VITPOSE

Array = NDArray[np.float64]
SIZE = (600, 900)
JOINTS = [
    *((300, 150), (310, 140), (290, 140), (325, 150), (275, 150)),  # nose, eyes, ears
    *((360, 230), (240, 230), (390, 340), (210, 340), (410, 450), (190, 450)),  # shoulders, elbows, wrists
    *((340, 460), (260, 460), (345, 610), (255, 610), (350, 760), (250, 760)),  # hips, knees, ankles
]


def person(dx: float = 0, dy: float = 0) -> tuple[Array, Array]:
    """A whole figure that stands in the middle: points [133, 2], and a confidence of 0.95 for each."""
    points = np.zeros((133, 2))
    points[:17] = JOINTS
    points[17:20] = [(375, 800), (365, 802), (345, 780)]
    points[20:23] = [(225, 800), (235, 802), (255, 780)]
    angles = np.linspace(0, 2 * np.pi, 68)
    points[23:91] = np.stack([300 + 30 * np.cos(angles), 150 + 40 * np.sin(angles)], axis=-1)
    for hand, wrist in zip(HANDS, (9, 10), strict=True):
        points[hand] = points[wrist] + np.stack([np.linspace(-12, 12, 21), np.linspace(0, 45, 21)], axis=-1)
    return points + np.array([dx, dy]), np.full(133, 0.95)


def score(people: list[tuple[Array, Array]], prompt: str = "", **more: Any) -> float | None:
    points, confidence = (np.stack(one) for one in zip(*people, strict=True))
    return anatomy(points, confidence, SIZE, prompt, **more)


def damaged(*where: slice | int) -> tuple[Array, Array]:
    points, confidence = person()
    for one in where:
        confidence[one] = 0.05
    return points, confidence


# --------------------------------------------------------------------------- one person


def test_a_correct_figure_is_worth_its_confidence() -> None:
    assert score([person()]) == pytest.approx(0.95)
    found = parts(*person(), SIZE)
    assert all(value == pytest.approx(0.95) for value in found.values()) and None not in found.values()


@pytest.mark.parametrize(("part", "name"), [(HANDS[0], "left_hand"), (HANDS[1], "right_hand")])
def test_a_wrist_without_a_hand_is_punished(part: slice, name: str) -> None:
    figure = damaged(part)
    assert parts(*figure, SIZE)[name] == pytest.approx(0.05)
    assert score([figure]) == pytest.approx(0.95 - 0.175 * 0.9)


@pytest.mark.parametrize("point", range(17, 23))
def test_all_six_points_of_the_feet_count(point: int) -> None:
    """The last one, the right heel, is number 22."""
    assert score([damaged(point)]) == pytest.approx(0.95 - 0.175 * 0.9 / 3)
    assert [one for foot in FEET for one in range(133)[foot]] == list(range(17, 23))


def test_a_portrait_is_not_punished_for_what_is_cut_off() -> None:
    """Head and shoulders; the model guesses the rest at the lower edge and beyond, without being sure."""
    points, confidence = person()
    points = (points - (300, 150)) * 2.6 + (300, 330)  # wrists would be at 1110, the frame ends at 900
    confidence[7:23] = 0.1
    confidence[91:] = 0.1
    points[7:13, 1] = np.minimum(points[7:13, 1], 880)
    found = parts(points, confidence, SIZE)
    assert found["body"] == pytest.approx(0.95)
    assert [name for name, value in found.items() if value is None] == [
        *("left_hand", "left_foot", "right_hand", "right_foot")
    ]
    assert score([(points, confidence)]) == pytest.approx(0.95)


def test_a_missing_part_is_left_out_and_never_nought() -> None:
    """The hand is out of the picture on the left: the others keep their weights among themselves."""
    points, confidence = person(dx=-180)
    confidence[[8, 10]] = 0.9
    points[[8, 10], 0] = -30
    confidence[HANDS[1]] = 0.02
    points[HANDS[1], 0] = -40
    assert parts(points, confidence, SIZE)["right_hand"] is None
    found = score([(points, confidence)])
    assert found is not None and found > 0.9


def test_a_lost_knee_in_the_middle_of_the_picture_is_punished() -> None:
    assert parts(*damaged(13), SIZE)["body"] == pytest.approx((0.95 * 11 + 0.05) / 12)


def test_what_hangs_on_a_lost_joint_is_not_asked_for() -> None:
    found = parts(*damaged(15, FEET[0]), SIZE)
    assert found["left_foot"] is None and found["right_foot"] == pytest.approx(0.95)


def test_a_head_that_is_turned_away_is_not_punished() -> None:
    assert score([damaged(0, 1, 2, 4)]) == pytest.approx(0.95)


def test_weights_have_an_effect() -> None:
    figure = damaged(HANDS[0])
    values = [score([figure], weights=Weights(left_hand=weight)) for weight in (0.0, 0.175, 1.0)]
    assert values[0] == pytest.approx(0.95) and values[0] > values[1] > values[2]  # type: ignore[operator]
    assert score([damaged(slice(23, 91))]) == pytest.approx(0.95)
    assert score([damaged(slice(23, 91))], weights=Weights(face=0.3)) < 0.8  # type: ignore[operator]


def test_a_hand_away_from_its_wrist_counts_half() -> None:
    points, confidence = person()
    points[HANDS[0]] += (-60, -230)
    assert parts(points, confidence, SIZE)["left_hand"] == pytest.approx(0.95 / 2)


def test_two_hands_at_one_spot_count_half() -> None:
    points, confidence = person()
    points[HANDS[0]] = points[HANDS[1]] + 1
    found = parts(points, confidence, SIZE)
    assert found["right_hand"] == pytest.approx(0.95 / 2) and found["left_hand"] == pytest.approx(0.95 / 4)


def test_limbs_of_unequal_length_are_punished_and_usual_foreshortening_is_not() -> None:
    usual, odd = person(), person()
    usual[0][9] = usual[0][7] + 0.6 * (usual[0][9] - usual[0][7])
    odd[0][9] = odd[0][7] + 0.1 * (odd[0][9] - odd[0][7])
    for points, _ in (usual, odd):
        points[HANDS[0]] += points[9] - JOINTS[9]
    assert score([usual]) == pytest.approx(0.95)
    one_limb_of_four = (0.5 - 0.1) / 0.5 / 4
    assert score([odd]) == pytest.approx((0.95 - 0.175 * 0.95 / 2) * (1 - one_limb_of_four / 2))


# --------------------------------------------------------------------------- how many


def test_three_hands_are_punished() -> None:
    """A second find that is but a hand at a wrist, where nobody is."""
    points, confidence = person()
    loose, sure = points + np.array([0, -280]), np.full(133, 0.02)
    sure[HANDS[0]] = sure[[7, 9]] = 0.95
    assert score([(points, confidence), (loose, sure)]) == pytest.approx(0.95 / 2)
    assert loose_hands(np.stack([points, loose]), np.stack([confidence, sure]), [0]) == 1


def test_a_hand_that_is_found_twice_is_not_a_third_one() -> None:
    points, confidence = person()
    again, sure = points + 3, np.full(133, 0.02)
    sure[HANDS[0]] = 0.95
    assert score([(points, confidence), (again, sure)]) == pytest.approx(0.95)


def test_no_person_has_no_score() -> None:
    nothing = np.zeros((0, 133, 2)), np.zeros((0, 133))
    assert anatomy(*nothing, SIZE, "1girl") is None
    assert score([damaged(slice(0, 133))], "1girl") is None, "what is not sure of itself is nobody"


@pytest.mark.parametrize(
    ("prompt", "count", "factor"),
    [
        ("1girl, solo, red hair", 1, 1.0),
        ("1girl, solo, red hair", 2, 0.5),
        ("2girls", 1, 0.5),
        ("2boys, 1girl", 3, 1.0),
        ("2boys, 1girl", 1, 0.25),
        ("a photo of a street", 3, 1.0),
        ("multiple girls, 2girls", 3, 1.0),
        ("6+girls", 3, 0.125),
    ],
)
def test_people_are_counted_against_the_tags(prompt: str, count: int, factor: float) -> None:
    assert score([person(dx=10 * one) for one in range(count)], prompt) == pytest.approx(0.95 * factor)


@pytest.mark.parametrize(
    ("prompt", "asked"),
    [
        ("1girl", (1, 1)),
        ("masterpiece, 2girls, 1boy, hug", (3, 3)),
        ("solo", (1, 1)),
        ("1girl, solo focus", (1, 1)),
        ("3 people at a table", (3, 3)),
        ("6+girls", (6, 10**6)),
        ("multiple girls", (2, 10**6)),
        ("crowd, 1girl", (2, 10**6)),
        ("a soloist", None),
        ("21:9 picture of a girl", None),
        ("", None),
    ],
)
def test_tags_say_how_many_people_there_are(prompt: str, asked: tuple[int, int] | None) -> None:
    assert people_asked_for(prompt) == asked


def test_people_count_by_the_room_that_they_take() -> None:
    """A damaged figure in the distance, a tenth as high, takes a hundredth of the room."""
    far_points, far_sure = damaged(HANDS[0], HANDS[1])
    near, far = score([person()]), score([(far_points, far_sure)])
    together = score([person(), (far_points / 10 + (40, 40), far_sure)])
    assert far < near and together == pytest.approx((near * 100 + far) / 101, abs=0.02)  # type: ignore[operator]


def test_points_of_the_body_alone_say_nothing_of_hands_and_feet() -> None:
    points, confidence = person()
    found = parts(points[:17], confidence[:17], SIZE)
    assert found.pop("body") == pytest.approx(0.95) and set(found.values()) == {None}
    assert anatomy(points[None, :17], confidence[None, :17], SIZE, "1girl") == pytest.approx(0.95)


# --------------------------------------------------------------------------- scorer and calibration


@pytest.mark.parametrize(("calibration", "scale"), [(RTMW, 10.0), (DWPOSE, 1.0), (VITPOSE, 1.0)])
def test_scores_of_each_backend_become_confidences(calibration: Calibration, scale: float) -> None:
    for points in (17, 133):
        sure = calibration.confidence(np.full((1, points), 0.8 * scale))
        unsure = calibration.confidence(np.full((1, points), 0.1 * scale))
        assert sure.shape == (1, points) and sure.min() > 0.95 and unsure.max() < 0.1


def test_each_part_has_a_middle_of_its_own() -> None:
    scores = np.zeros((1, 133))
    for place, middle in ((0, 3.5), (22, 3.0), (23, 3.5), (91, 4.0), (132, 4.0)):
        scores[0, place] = middle
    assert RTMW.confidence(scores)[0, [0, 22, 23, 91, 132]] == pytest.approx([0.5] * 5)


def test_a_failure_is_raised_and_never_a_score_of_nought() -> None:
    def broken(image: Image.Image) -> Any:
        raise OSError("the graph broke")

    scorer = Anatomy("anatomy", broken, RTMW, "1")
    with pytest.raises(OSError, match="the graph broke"):
        scorer.score([Image.new("RGB", SIZE)], ["1girl"])


def test_pictures_are_scored_one_by_one_with_their_prompts() -> None:
    def find(image: Image.Image) -> tuple[Array, Array]:
        people = [person(dx=10 * one) for one in range(image.width % 3)]
        if not people:
            return np.zeros((0, 133, 2)), np.zeros((0, 133))
        return np.stack([points for points, _ in people]), np.full((len(people), 133), 6.0)

    scorer = Anatomy("anatomy", find, RTMW, "1")
    images = [Image.new("RGB", (width, 900)) for width in (600, 601, 602)]
    found = scorer.score(images, ["1girl"] * 3)
    assert found[0] is None and found[2] == pytest.approx(found[1] / 2, abs=0.01)  # type: ignore[operator]
