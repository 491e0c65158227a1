"""The one configuration that both forms edit: every change goes through here and is kept at once."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from app.ui import forms, sets
from trainers import catalog, resolve
from trainers.errors import ConfigError
from trainers.parameters import by_path, parameters

if TYPE_CHECKING:
    from app.services.studio import Draft, PresetInfo, Studio


@dataclass(frozen=True)
class Edited:
    """Values before and after a change; nothing else of the form needs to be drawn again."""

    preset: str
    before: forms.Values
    after: forms.Values


class DraftEditor:
    """Edits the draft that the studio keeps. Changes of one path leave the others alone, whoever made them."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._lock = threading.Lock()

    def current(self) -> Edited:
        draft = self._studio.draft()
        values = forms.complete(draft.values)
        return Edited(draft.preset, values, values)

    def preset(self, name: str) -> forms.Values:
        """Values of a preset, written out; the plain defaults for an unknown name."""
        return forms.complete(next((info.values for info in self._studio.presets() if info.name == name), {}))

    def edit(self, raws: Mapping[str, Any]) -> Edited:
        """Take what some controls hold: dotted path -> content."""
        return self._change(lambda draft: (draft.preset, forms.collect(raws, draft.values)))

    def choose_preset(self, name: str) -> Edited:
        """Another preset; pictures, trigger word, prompts and name stay, unless they are those of the old one."""
        return self._change(lambda draft: (name, self._with_own(draft, name)))

    def choose_model(self, base: str) -> Edited:
        """Another base model, with a preset made for it if there is one: that of the same goal, else the first."""
        made_for = {info.name: info.goal for info in self._made_for(base)}

        def change(draft: Draft) -> tuple[str, forms.Values]:
            name = draft.preset
            if made_for and name not in made_for:
                goal = forms.goal_of(draft.values)
                name = next((one for one, for_goal in made_for.items() if for_goal == goal), next(iter(made_for)))
            if not made_for and forms.get(self.preset(name), "model.base") in {m.name for m in self._studio.models()}:
                name = ""  # the old preset's numbers belong to its own model
            values = draft.values if name == draft.preset else self._with_own(draft, name)
            return name, forms.put(values, {"model.base": base})

        return self._change(change)

    def choose_goal(self, goal: str) -> Edited:
        """Another goal: from a preset made for a goal to its sister, elsewhere what the goal is about.

        Raises KeyError for an unknown goal.
        """

        def change(draft: Draft) -> tuple[str, forms.Values]:
            old, family = self.preset(draft.preset), forms.family(draft.values)
            made_for = self._made_for(forms.get(old, "model.base")) if family is forms.family(old) else []
            sisters = {info.goal: info.name for info in made_for if info.goal}
            if goal in sisters and draft.preset in sisters.values():
                name = sisters[goal]
                return name, forms.for_other_goal(draft.values, old, self.preset(name))
            return draft.preset, forms.put(draft.values, forms.for_goal(goal, family))

        return self._change(change)

    def choose_quality(self, quality: str) -> Edited:
        """Raises KeyError for an unknown quality."""

        def change(draft: Draft) -> tuple[str, forms.Values]:
            steps = forms.quality_steps(self.preset(draft.preset), quality)
            return draft.preset, forms.put(draft.values, {"schedule.max_steps": steps})

        return self._change(change)

    def reset(self, scope: str) -> Edited:
        """Back to the preset: a path ("adapter.rank"), a section ("adapter") or everything ("")."""
        paths = [p.path for p in parameters() if not scope or scope in (p.path, p.section)]

        def change(draft: Draft) -> tuple[str, forms.Values]:
            preset = self.preset(draft.preset)
            return draft.preset, forms.put(draft.values, {path: forms.get(preset, path) for path in paths})

        return self._change(change)

    def load_toml(self, text: str) -> Edited:
        """Take a configuration from TOML. Raises ConfigError for broken TOML and for keys that do not exist."""
        values = resolve.parse_toml(text)
        for section, part in values.items():
            paths = [f"{section}.{name}" for name in part] if isinstance(part, dict) else [section]
            for path in paths:
                if path not in by_path() and path not in ("schema_version", *resolve.PRESET_ONLY):
                    raise resolve.unknown_key(path)
        return self._change(lambda draft: (draft.preset, forms.complete(values)))

    def fix(self, wish: str) -> Edited:
        """Take the values of a finding's button: JSON by dotted path. Raises ConfigError for anything else."""
        try:
            raws = {path: forms.show(by_path()[path], value) for path, value in json.loads(wish).items()}
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            raise ConfigError("fix", f"{wish[:80]!r} is no set of values.") from error
        return self.edit(raws)

    def change_sets(self, change: Callable[[forms.Values], list[Any]]) -> Edited:
        """Other further data sets: what `change` makes of the values. An error that it raises changes nothing."""
        return self._change(lambda draft: (draft.preset, forms.put(draft.values, {"data.sets": change(draft.values)})))

    def train_on(self, folder: str) -> Edited:
        """Make a folder the run's pictures; it is no further data set any more."""

        def change(draft: Draft) -> tuple[str, forms.Values]:
            rest = sets.without_folder(draft.values, folder)
            return draft.preset, forms.put(draft.values, {"data.folder": folder, "data.sets": rest})

        return self._change(change)

    def _made_for(self, base: str) -> list[PresetInfo]:
        """Presets for a base; where it has none, those for the known model that it is most like."""
        presets = self._studio.presets()
        if own := [info for info in presets if forms.get(info.values, "model.base") == base]:
            return own
        try:
            like = catalog.model_of(base, catalog.family_of(base))
        except ConfigError:
            return []
        return [info for info in presets if catalog.MODELS.get(forms.get(info.values, "model.base")) is like]

    def _with_own(self, draft: Draft, name: str) -> forms.Values:
        return forms.with_preset(draft.values, self.preset(draft.preset), self.preset(name))

    def _change(self, change: Callable[[Draft], tuple[str, forms.Values]]) -> Edited:
        with self._lock:
            draft = self._studio.draft()
            preset, values = change(draft)
            before, after = forms.complete(draft.values), forms.complete(values)
            if (preset, after) != (draft.preset, before):
                self._studio.save_draft(preset, after)
            return Edited(preset, before, after)
