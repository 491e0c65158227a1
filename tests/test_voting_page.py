"""What the voting page may ask, its words, and the page for labelling as it is sent."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.services.preferences.voting import GROUPS
from app.services.studio import Studio
from app.ui import label_page
from app.ui.tabs import preferences_votes
from app.ui.texts import LANGUAGES, texts
from app.ui.widgets.live import SCRIPTS
from tests.test_services import MACHINE
from tests.voting_sets import ballot, draw_set
from trainers.paths import ASSETS
from trainers.preferences.queue import ORDERS
from trainers.preferences.votes import CHOICES

Ask = dict[str, Callable[[Any], dict[str, Any]]]
OWN = ("label", "preferencesvote", "preferencesvoteoutbox", "preferencesvotepanel", "preferencesvotestage")
CODE = "".join((ASSETS / "js" / f"{name}.js").read_text(encoding="utf-8") for name in OWN)
NAME = "dogs"


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    studio = Studio(tmp_path / "data", machine=MACHINE)
    draw_set(studio.data_dir / "preferences" / NAME, 2, 3)
    yield studio
    studio.close()


def asks(studio: Studio, *, blind: bool = False) -> Ask:
    functions = preferences_votes.of_votes(studio, texts("zh"), blind=blind)
    return {function.__name__: function for function in functions}


def test_the_page_can_vote_and_undo(studio: Studio) -> None:
    ask = asks(studio)
    found = ask["next"]([NAME, "ann", "unseen", [], False])
    item = found["items"][0]
    answered = ask["vote"]([NAME, "ann", ballot(item, "right"), "unseen", []])
    assert answered["saved"] == "vote00000000" and answered["behind"]["choice"] == "right"
    assert ask["stats"](NAME)["votes"] == 1
    assert ask["undo"]([NAME, "ann", "vote00000000", "unseen"])["done"] == 0
    assert json.dumps(answered) and json.dumps(ask["stats"](NAME)), "all of it can be sent"


def test_refusals_are_sentences(studio: Studio) -> None:
    ask = asks(studio)
    assert ask["next"](["no-such", "ann", "unseen", [], False])["error"]
    assert ask["next"]([NAME, "", "unseen", [], False])["error"]
    assert ask["vote"]([NAME, "ann", {}, "unseen", []])["error"]
    assert ask["undo"]([NAME, "ann", "x", "unseen"])["error"]
    assert ask["stats"](7)["error"] and ask["stats"]("x" * 500)["error"]


@pytest.mark.parametrize("request_", [None, 0, "x", [], [NAME], {"set": NAME}, [NAME, "ann", "vote"]])
def test_what_no_page_sends_raises(studio: Studio, request_: Any) -> None:
    ask = asks(studio)
    for name in ("next", "vote", "undo"):
        with pytest.raises(ValueError):
            ask[name](request_)


def test_scores_before_the_vote_are_a_wish_that_can_be_refused(studio: Studio) -> None:
    wish = [NAME, "ann", "unseen", [], True]
    assert "scores" in asks(studio)["next"](wish)["items"][0]
    assert "scores" not in asks(studio, blind=True)["next"](wish)["items"][0]
    item = asks(studio, blind=True)["next"](wish)["items"][0]
    asks(studio, blind=True)["vote"]([NAME, "ann", ballot(item, "left", open=True), "unseen", []])
    with studio.preferences.sets.opened(NAME) as prefset:
        assert prefset.votes.standing()[-1].aspects == {}


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_for_labelling_has_its_words_and_files(language: str) -> None:
    page = label_page.page(texts(language))
    found = re.search(r'id="label-words">(.*?)</script>', page, re.S)
    assert found and json.loads(found[1])["voting.title"] == texts(language)("voting.title")
    assert "{" not in re.sub(r"<(style|script).*?</\1>", "", page, flags=re.S)
    assert f'lang="{language}' in page and "gradio.js" not in page and "/gradio_api" not in page


def test_every_word_of_the_scripts_exists() -> None:
    table = texts("en").table
    used = set(re.findall(r't\([^()`]*?"((?:voting|keys|common)\.\w+)"', CODE))
    used |= {word for pair in re.findall(r'\? "(voting\.\w+)" : "(voting\.\w+)"', CODE) for word in pair}
    used |= {f"voting.order_{order}" for order in (*ORDERS, GROUPS)}
    used |= {f"voting.{choice}" for choice in ("left", "right", *CHOICES) if len(choice) > 1}
    hints = re.findall(r"(?:HINTS|TOOLS) = (\[.*?\]);", CODE)
    assert len(hints) == 2
    used |= {f"voting.{name}" for group in hints for name in re.findall(r'\["(\w+)"', group)}
    used |= {f"voting.key_{name}" for _, name in re.findall(r'\["([^"]+)", "(\w+)"\]', CODE.split("const KEYS")[1])}
    used |= {f"voting.made_{name}" for name in ("source", "base", "adapters", "seed", "steps", "cfg", "size")}
    used |= {f"voting.source_{name}" for name in ("generated", "real", "external")}
    assert len(used) > 60 and sorted(used - set(table)) == []


def test_no_word_is_without_use() -> None:
    made = ("voting.order_", "voting.key_", "voting.made_", "voting.source_", "voting.view_")
    plain = [key for key in texts("en").table if key.startswith("voting.") and not key.startswith(made)]
    names = [key.removeprefix("voting.") for key in plain]
    assert [name for name in names if not re.search(rf"\b(voting\.)?{name}\b", CODE)] == []


def test_pages_load_the_same_annotator() -> None:
    shared = [name for name in label_page.SCRIPTS if name.startswith("preferencesvote")]
    assert shared == [name for name in SCRIPTS if name.startswith("preferencesvote")]
    assert "innerHTML" not in CODE and "eval" not in CODE
