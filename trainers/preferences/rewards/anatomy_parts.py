"""From key points to one number: how well the people of a picture are built, and whether there are as many as asked.

Key points are those of COCO-WholeBody (133), or of COCO (17), which know nothing of hands and feet. A part is judged
only where it has to be seen: the joint that it hangs on is there, inside the picture. So a portrait is not punished for
its feet, and a wrist without a hand is. Light: numpy alone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Found = tuple[NDArray[Any], NDArray[Any]]  # points [n, K, 2] in pixels, raw scores [n, K]

HEAD = slice(0, 5)  # nose, eyes, ears
SHOULDERS, ELBOWS, WRISTS, HIPS, KNEES, ANKLES = (5, 6), (7, 8), (9, 10), (11, 12), (13, 14), (15, 16)
BODY, FACE = slice(0, 17), slice(23, 91)
FEET = (slice(17, 20), slice(20, 23))  # big toe, small toe, heel: left, right
HANDS = (slice(91, 112), slice(112, 133))  # left, right; the first point is at the wrist
HANGS_ON = {7: 5, 8: 6, 9: 7, 10: 8, 11: 5, 12: 6, 13: 11, 14: 12, 15: 13, 16: 14}
LIMBS = (((5, 7), (6, 8)), ((7, 9), (8, 10)), ((11, 13), (12, 14)), ((13, 15), (14, 16)))

SEEN = 0.5  # confidence from which on a point is there
EDGE = 0.03  # of a side of the picture: what hangs on a joint beyond may be cut off
LOST = 0.1  # the same for points that are not sure: for what is cut off, models guess a place near the edge
PERSON_JOINTS = 4  # of the body, at least: fewer are a loose part
DETACHED = 0.6  # of a forearm: a hand that is farther from its wrist belongs to nobody
ASYMMETRY = 0.5  # ratio of two limbs: what is less is no foreshortening of a usual pose


@dataclass(frozen=True)
class Calibration:
    """What a backend's raw score of a point means: sigmoid((score - middle) / width). A middle for each part."""

    body: float
    hands: float
    feet: float
    face: float
    width: float

    def confidence(self, scores: Array) -> Array:
        """scores [n, K] as the backend tells them; in [0, 1]."""
        middle = np.full(scores.shape[1], self.body)
        for part, value in ((FACE, self.face), (HANDS[0], self.hands), (HANDS[1], self.hands)):
            middle[part] = value
        for foot in FEET:
            middle[foot] = self.feet
        sure: Array = 1 / (1 + np.exp(-((scores - middle) / self.width).clip(-30, 30)))
        return sure


@dataclass(frozen=True)
class Weights:
    """What the parts count, among those that apply."""

    body: float = 0.3
    left_hand: float = 0.175
    right_hand: float = 0.175
    left_foot: float = 0.175
    right_foot: float = 0.175
    face: float = 0.0


def anatomy(
    points: Array,
    confidence: Array,
    size: tuple[int, int],
    prompt: str = "",
    weights: Weights | None = None,
) -> float | None:
    """In [0, 1]; None when there is no person, or nothing of one that could be judged.

    points [n, K, 2] in pixels, confidence [n, K] in [0, 1], size: width and height. The people count by the room that
    they take; people, and hands that nobody has, that are too many or too few lower the whole.
    """
    joints = (confidence[:, BODY] >= SEEN).sum(axis=1) if len(points) else np.zeros(0)
    people = [index for index, count in enumerate(joints) if count >= PERSON_JOINTS]
    weights = weights or Weights()
    found = [(_person(points[at], confidence[at], size, weights), _room(points[at], confidence[at])) for at in people]
    judged = [(value, room) for value, room in found if value is not None]
    if not judged:
        return None
    built = sum(value * room for value, room in judged) / sum(room for _, room in judged)
    return float(built * _count_factor(len(people), prompt) * 0.5 ** loose_hands(points, confidence, people))


def parts(points: Array, confidence: Array, size: tuple[int, int]) -> dict[str, float | None]:
    """What each part of one person is worth, in [0, 1]; None where it does not apply. points [K, 2], confidence [K]."""
    found: dict[str, float | None] = {"body": _body(points, confidence, size)}
    whole = len(points) > HANDS[1].start
    for side, name in enumerate(("left", "right")):
        found[f"{name}_hand"] = _hand(points, confidence, size, side) if whole else None
        found[f"{name}_foot"] = _end(points, confidence, size, ANKLES[side], FEET[side]) if whole else None
    found["face"] = float(confidence[FACE].mean()) if whole and confidence[0] >= SEEN else None
    if found["left_hand"] and found["right_hand"] and _share_a_place(points, confidence):
        found["left_hand"], found["right_hand"] = found["left_hand"] / 2, found["right_hand"] / 2
    return found


def _person(points: Array, confidence: Array, size: tuple[int, int], weights: Weights) -> float | None:
    found = parts(points, confidence, size)
    applying = {name: value for name, value in found.items() if value is not None and getattr(weights, name) > 0}
    total = sum(getattr(weights, name) for name in applying)
    if not total:
        return None
    mean = sum(getattr(weights, name) * value for name, value in applying.items()) / total
    return float(mean * (1 - asymmetry(points, confidence) / 2))


def _inside(point: Array, size: tuple[int, int], margin: float = EDGE) -> bool:
    share = point / np.asarray(size, np.float64)
    return bool((share > margin).all() and (share < 1 - margin).all())


def _there(points: Array, confidence: Array, size: tuple[int, int], joint: int) -> bool:
    """The joint is seen, and what hangs on it can be."""
    return bool(confidence[joint] >= SEEN) and _inside(points[joint], size)


def _counts(point: Array, confidence: float, size: tuple[int, int]) -> bool:
    """It is seen, or it is missing where it would be seen."""
    return confidence >= SEEN or _inside(point, size, LOST)


def _body(points: Array, confidence: Array, size: tuple[int, int]) -> float | None:
    """Mean over the joints that have to be seen: those whose parent is there. The head is as sure as its surest point:
    it may be turned away."""
    surest = int(confidence[HEAD].argmax())
    joints = [
        surest,
        *SHOULDERS,
        *(one for one, parent in HANGS_ON.items() if _there(points, confidence, size, parent)),
    ]
    values = [float(confidence[one]) for one in joints if _counts(points[one], float(confidence[one]), size)]
    return float(np.mean(values)) if values else None


def _hand(points: Array, confidence: Array, size: tuple[int, int], side: int) -> float | None:
    """A hand that lies far from its wrist counts half."""
    wrist, elbow, hand = WRISTS[side], ELBOWS[side], HANDS[side]
    value = _end(points, confidence, size, wrist, hand)
    if value is None or confidence[elbow] < SEEN:
        return value
    forearm, gap = (float(np.linalg.norm(points[wrist] - points[other])) for other in (elbow, hand.start))
    return value / 2 if gap > DETACHED * forearm else value


def _end(points: Array, confidence: Array, size: tuple[int, int], joint: int, part: slice) -> float | None:
    """Mean confidence of a hand or foot; None when its joint is not there, or it is cut off itself."""
    value = float(confidence[part].mean())
    if _there(points, confidence, size, joint) and _counts(points[part].mean(axis=0), value, size):
        return value
    return None


def _share_a_place(points: Array, confidence: Array) -> bool:
    """Both hands are drawn at one spot, though the wrists are apart: one of them is there twice, or hangs on air."""
    left, right = (points[hand].mean(axis=0) for hand in HANDS)
    span = max(float(np.ptp(points[hand], axis=0).max()) for hand in HANDS)
    apart = float(np.linalg.norm(points[WRISTS[0]] - points[WRISTS[1]]))
    return float(np.linalg.norm(left - right)) < 0.25 * span < 0.25 * apart


def asymmetry(points: Array, confidence: Array) -> float:
    """How far left and right limbs differ in length, in [0, 1], over the limbs that are there on both sides."""
    found = []
    for pair in LIMBS:
        if all(confidence[joint] >= SEEN for limb in pair for joint in limb):
            short, long = sorted(float(np.linalg.norm(points[one] - points[other])) for one, other in pair)
            ratio = short / long if long else 1.0
            found.append(max(0.0, ASYMMETRY - ratio) / ASYMMETRY)
    return float(np.mean(found)) if found else 0.0


def loose_hands(points: Array, confidence: Array, people: Sequence[int]) -> int:
    """Hands that were found where no person is, and that are not the hand of one."""
    if not len(points) or points.shape[1] <= HANDS[1].start:
        return 0
    owned = [points[at][hand].mean(axis=0) for at in people for hand in HANDS if confidence[at][hand].mean() >= SEEN]
    count = 0
    for at in sorted(set(range(len(points))) - set(people)):
        for hand in HANDS:
            centre, span = points[at][hand].mean(axis=0), float(np.ptp(points[at][hand], axis=0).max())
            is_new = all(float(np.linalg.norm(centre - other)) > span / 2 for other in owned)
            if confidence[at][hand].mean() >= SEEN and is_new:
                owned.append(centre)
                count += 1
    return count


def _room(points: Array, confidence: Array) -> float:
    """Area that the points of a person take, in pixels; at least one."""
    sure = points[confidence >= SEEN]
    return float(max(1.0, np.prod(np.ptp(sure, axis=0)))) if len(sure) else 1.0


# --------------------------------------------------------------------------- how many people

_COUNTED = re.compile(r"(?<![\w.])(\d+)(\+?)[ _]?(girl|boy|other|woman|man|women|men|people|person)s?\b", re.IGNORECASE)
_ALONE = re.compile(r"(?<!\w)solo(?!\w)", re.IGNORECASE)
_CROWD = re.compile(r"(?<!\w)(multiple[ _](girls|boys|others)|crowd|everyone|group)(?!\w)", re.IGNORECASE)


def people_asked_for(prompt: str) -> tuple[int, int] | None:
    """Fewest and most people that the tags of a prompt ask for, as "1girl, 2boys" and "solo" do; None for no word."""
    counted = _COUNTED.findall(prompt)
    if _CROWD.search(prompt):
        return (max(2, sum(int(number) for number, _, _ in counted)), 10**6)
    if _ALONE.search(prompt):
        return (1, 1)
    if not counted:
        return None
    total = sum(int(number) for number, _, _ in counted)
    return (total, 10**6 if any(more for _, more, _ in counted) else total)


def _count_factor(count: int, prompt: str) -> float:
    """Half for each person too many or too few."""
    asked = people_asked_for(prompt)
    if asked is None:
        return 1.0
    wrong = max(asked[0] - count, count - asked[1], 0)
    return 0.5 ** min(wrong, 8)
