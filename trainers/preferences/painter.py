"""Draws pictures of a set with one model, and writes each down: first its file, whole, then its line. Heavy."""

from __future__ import annotations

import io
import time
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from PIL import Image

from trainers.boundary import is_out_of_memory
from trainers.draw import Drawer, DrawRequest
from trainers.errors import AtelierError
from trainers.events import Emit, Made, PhaseChanged
from trainers.machine import detect
from trainers.preferences import plan
from trainers.preferences.config import CompareConfig, GenerateConfig
from trainers.preferences.halving import Halving
from trainers.preferences.plan import Wanted
from trainers.preferences.prefset import Picture, Prefset, image_id_of
from trainers.preferences.recipe import Recipe, vae_hash
from trainers.preferences.resolve import train_config
from trainers.rundir import write_atomic
from trainers.weights.hub import Progress

PROMPTS_AHEAD = 256  # that are encoded at a time: those of thousands would fill the memory


class Painter:
    """config: resolved; recipe: how the pictures are drawn, with one adapter at most; role: kept with each picture.

    The model is loaded when the first picture is missing. download: hears of a base that has to be downloaded.
    """

    def __init__(
        self,
        config: GenerateConfig | CompareConfig,
        recipe: Recipe,
        prefset: Prefset,
        emit: Emit,
        download: Progress,
        role: str = "",
    ) -> None:
        self._config, self._recipe, self._prefset, self._role = config, recipe, prefset, role
        self._emit, self._download = emit, download
        self._halving = Halving(int(config.pictures.batch_size), "pictures.batch_size", emit)
        self._read: set[str] = set()  # prompts that are encoded

    def take_in(self, asked: Sequence[Wanted]) -> None:
        """Write down pictures whose files are there: their process ended between file and line."""
        known = plan.listed(self._prefset)
        orphans = [one for one in asked if (one.prompt_id, one.path) not in known and self._file(one).is_file()]
        self._write_down([(one, self._file(one).read_bytes(), self._file(one).stat().st_mtime) for one in orphans])

    def draw(self, upcoming: Sequence[Wanted], size: int) -> list[Made]:
        """Draw the first `size` of what comes, and write down those that are not there; what came new.

        A batch that is there in part is drawn whole: on some machines a picture's last bits depend on the others of its
        batch, and it shall come out as if nothing had been interrupted. Raises AtelierError.
        """
        batch = upcoming[:size]
        missing = {one for one in batch if not self._file(one).is_file()}
        if not missing:
            return []
        self._read_ahead(batch, upcoming)
        drawn = zip(batch, self._drawn(batch), strict=True)
        fresh = [(one, _png(picture)) for one, picture in drawn if one in missing]
        for one, data in fresh:
            write_atomic(self._file(one), data)
        now = time.time()
        return self._write_down([(one, data, now) for one, data in fresh])

    def close(self) -> None:
        """Give the memory of the model back."""
        if "_drawer" in self.__dict__:
            self._drawer.close()

    # ------------------------------------------------------------------ drawing

    @cached_property
    def _drawer(self) -> Drawer:
        self._emit(PhaseChanged("loading", "libraries"))
        file = Path(self._recipe.adapters[0].path) if self._recipe.adapters else None

        def say(part: str) -> None:
            self._emit(PhaseChanged("loading", part))

        return Drawer(train_config(self._config, detect()), file, say, self._download)

    def _read_ahead(self, batch: Sequence[Wanted], upcoming: Sequence[Wanted]) -> None:
        """Encode many prompts at once: text encoders and denoiser may have to take turns in memory."""
        if {text for one in batch for text in (one.prompt, one.negative)} <= self._read:
            return
        prompts = list(dict.fromkeys(one.prompt for one in upcoming))[:PROMPTS_AHEAD]
        negatives = {one.negative for one in upcoming}
        self._drawer.forget()
        self._drawer.read([*prompts, *sorted(negatives)])
        self._read = {*prompts, *negatives}

    def _drawn(self, batch: Sequence[Wanted]) -> list[Image.Image]:
        scale = self._recipe.adapters[0].scale if self._recipe.adapters else 1.0
        requests = [
            DrawRequest(
                prompt=one.prompt,
                negative=one.negative,
                seed=one.seed,
                steps=self._recipe.steps,
                guidance=self._recipe.cfg,
                width=self._recipe.width,
                height=self._recipe.height,
                strength=scale,
            )
            for one in batch
        ]
        try:
            return self._halving.run(requests, self._drawer.draw_batch)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            hint = "Draw smaller pictures, set memory.quantize = fp8, or close what else uses the card. Then go on."
            raise AtelierError("Out of memory with a single picture.", hint) from error

    # ------------------------------------------------------------------ writing down

    @cached_property
    def _vae_hash(self) -> str:
        return vae_hash(self._config.model)

    def _file(self, one: Wanted) -> Path:
        return self._prefset.folder / one.path

    def _write_down(self, files: Sequence[tuple[Wanted, bytes, float]]) -> list[Made]:
        """Lines for pictures whose files are there. files: (picture, bytes of its file, when it was made)."""
        if not files:
            return []
        recipe = self._recipe
        shift = self._drawer.shift(recipe.width, recipe.height)
        pictures, made = [], []
        for one, data, created in files:
            gen = recipe.facts(one.seed, one.prompt, shift, self._vae_hash, created)
            role = {"role": self._role} if self._role else {}
            image_id = image_id_of(data)
            pictures.append(
                Picture(image_id, one.prompt_id, one.path, recipe.width, recipe.height, gen={**gen, **role})
            )
            made.append(Made(image_id, one.prompt_id, one.prompt, one.seed, one.path, self._role))
        self._prefset.add_pictures(pictures)
        return made


def _png(picture: Image.Image) -> bytes:
    """PNG, not JPEG: what is trained on must hold no marks of a codec."""
    file = io.BytesIO()
    picture.save(file, "png")
    return file.getvalue()
