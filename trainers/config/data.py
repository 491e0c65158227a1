"""Pictures, data sets and captions."""

from __future__ import annotations

import re
import shlex
from typing import Annotated, Any, Literal

from PIL import ImageColor
from pydantic import Field, field_validator, model_validator

from trainers.config.section import Amount, Auto, Count, Pixels, Positive, Section, Share, param

Crop = Literal["centre", "random", "detail"]


class DataSet(Section):
    """One more data set of a run. What is left out is as in section `data`.

    In a form and on the command line it is a line of text: the folder, then key=value, as in
    `photos/dog repeats=10 resolution=512,768`.
    """

    folder: Annotated[str, Field(min_length=1)]
    repeats: Positive | None = None
    weight: Annotated[float, Field(gt=0, le=1000)] = 1.0
    resolution: tuple[Pixels, ...] = ()
    crop: Crop | None = None
    flip: bool | None = None
    regularisation: bool = False
    loss_weight: Amount = 1.0
    prompt: str = ""

    @model_validator(mode="before")
    @classmethod
    def _from_line(cls, value: Any) -> Any:
        return cls.parse(value) if isinstance(value, str) else value

    @field_validator("resolution", mode="before")
    @classmethod
    def _from_sides(cls, value: Any) -> Any:
        return sides(value)

    @staticmethod
    def parse(line: str) -> dict[str, str]:
        """The fields that a line names, as text. Raises ValueError for a word that is no key=value."""
        lexer = shlex.shlex(line, posix=True)
        lexer.whitespace_split, lexer.commenters, lexer.escape = True, "", ""  # a Windows path has backslashes
        folder, *words = [*lexer] or [""]
        pairs = [word.partition("=") for word in words]
        if wrong := [word for word, equals, _ in pairs if not equals]:
            raise ValueError(f"{wrong[0]!r} is not of the form key=value; put a folder with spaces into quotes")
        return {"folder": folder, **{key: text for key, _, text in pairs}}

    def line(self) -> str:
        """The line that gives this data set again."""
        words = [_quoted(self.folder)]
        for name, value in self.model_dump(exclude_defaults=True).items():
            if name != "folder":
                text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
                words.append(f"{name}={_quoted(text.lower() if isinstance(value, bool) else text)}")
        return " ".join(words)


def _quoted(text: str) -> str:
    """For a lexer without an escape character: in the quotes that the text does not have."""
    if text and not re.search(r"""[\s'"]""", text):
        return text
    return f"'{text}'" if "'" not in text else f'"{text}"'


def sides(value: Any) -> Any:
    """Sides from "512, 768", 512 or a list; anything else as it is, for the check to name."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return [value] if isinstance(value, int) and not isinstance(value, bool) else value


class Data(Section):
    """Pictures, and how they are cut."""

    folder: str = param(
        "",
        "Pictures",
        "A folder of pictures with their captions, a zip of one, or a multidatabackend.json. "
        "Caption files, tables and kohya folders are recognised.",
        level="beginner",
        aka="train_data_dir dataset instance_data_dir data_backend_config",
    )
    sets: tuple[DataSet, ...] = param(
        (),
        "More data sets",
        "One a line: a folder, then what is different there, as in photos/dog repeats=10 weight=0.5 "
        "resolution=512,768 crop=random flip=true regularisation=true loss_weight=0.5.",
        aka="reg_data_dir class_data_dir concepts datasets",
    )
    resolution: Pixels | Auto = param(
        "auto",
        "Resolution",
        "Side of a square picture; others get the same area at their own shape. auto: the model's own.",
        unit="px",
        aka="size",
    )
    more_resolutions: tuple[Pixels, ...] = param(
        (),
        "Further resolutions",
        "The same pictures at these sizes too, as in 512, 768. An epoch shows each picture at every size.",
        unit="px",
        aka="multires resolutions",
    )
    repeats: Positive = param(1, "Repeats", "How often an epoch shows each picture.", unit="times", aka="num_repeats")
    aspect: Literal["buckets", "square", "area"] = param(
        "buckets",
        "Shapes",
        "buckets: the nearest of a few shapes. square: all cut square. "
        "area: each its own shape and the same number of pixels; few share a batch.",
        aka="enable_bucket crop_aspect resolution_type pixel_area",
    )
    bucket_step: Positive | Auto = param(
        "auto",
        "Step of sizes",
        "Widths and heights are multiples of it. auto: the finest that the family allows.",
        unit="px",
        aka="bucket_reso_steps",
    )
    upscale: bool = param(
        True,
        "Enlarge small pictures",
        "Off: a small picture is trained at its own size, rounded down.",
        aka="bucket_no_upscale no_upscale",
    )
    crop: Crop = param(
        "centre",
        "Crop",
        "Which part stays where a shape does not fit. random: another part at each visit. "
        "detail: the part with the most detail, which keeps faces and subjects without searching for faces.",
        aka="random_crop crop_style center_crop face_crop_aug_range",
    )
    crops: Annotated[int, Field(ge=1, le=64)] = param(
        4, "Random crops", "So many parts of a picture are prepared when the crop is random."
    )
    flip: bool = param(
        False,
        "Mirror",
        "Half of the visits see the picture mirrored. Not for faces, letters or anything with a left and a right.",
        aka="flip_aug random_flip",
    )
    background: str = param(
        "white", "Background", "Colour behind transparent parts: a name, or as in #808080.", aka="alpha"
    )
    mask: Literal["none", "alpha", "file", "any"] = param(
        "none",
        "Mask",
        "What of a picture counts. alpha: its opaque parts. file: white in NAME-masklabel.png beside it. "
        "any: the file, else alpha.",
        aka="alpha_mask masked_loss masked_training conditioning_data_dir",
    )
    unmasked_weight: Share = param(
        0.1, "Weight outside", "How much the rest of a masked picture counts.", aka="unmasked_weight"
    )
    prior_weight: Amount = param(
        1.0,
        "Weight of regularisation",
        "How much the pictures of regularisation sets count.",
        aka="prior_loss_weight reg_weight",
    )
    skip_bad: bool = param(
        False, "Go on without damaged files", "Off: a file that cannot be read stops the run before it starts."
    )
    caption_extension: str = param(
        ".txt,.caption", "Caption files", "Endings of caption files, first match wins.", aka="caption_ext"
    )
    cache_text: Literal["run", "disk", "none"] = param(
        "run",
        "Keep encoded captions",
        "run: until the run is done. disk: for later runs too. "
        "none: the text encoder stays loaded and reads every caption as it is drawn.",
        aka="cache_text_encoder_outputs text_embeds latents_only",
    )
    cache_dir: str = param(
        "auto",
        "Cache folder",
        "Where encoded pictures and captions are kept. auto: the folder `cache` in Atelier's data folder.",
        aka="cache_latents_to_disk",
    )

    @model_validator(mode="before")
    @classmethod
    def _first_is_resolution(cls, values: Any) -> Any:
        """Several sizes in `resolution` are the largest and the further ones."""
        if not isinstance(values, dict) or values.get("more_resolutions"):
            return values
        found = values.get("resolution")
        several = sides(found) if isinstance(found, (list, tuple)) or (isinstance(found, str) and "," in found) else []
        if len(several) < 2 or not all(str(side).isdecimal() for side in several):
            return values
        first, *more = sorted({int(side) for side in several}, reverse=True)
        return {**values, "resolution": first, "more_resolutions": more}

    @field_validator("more_resolutions", mode="before")
    @classmethod
    def _from_sides(cls, value: Any) -> Any:
        return sides(value)

    @field_validator("background")
    @classmethod
    def _is_colour(cls, value: str) -> str:
        try:
            ImageColor.getrgb(value)
        except ValueError as error:
            raise ValueError(f"{value!r} is no colour: give a name such as white, or #rrggbb") from error
        return value

    @field_validator("caption_extension")
    @classmethod
    def _has_dots(cls, value: str) -> str:
        endings = [ending.strip() for ending in value.split(",")]
        if not all(re.fullmatch(r"\.\w+", ending) for ending in endings):
            raise ValueError("give endings with a dot, separated by commas, as in .txt,.caption")
        return ",".join(endings)


class Captions(Section):
    """What is done to captions before the text encoder reads them."""

    trigger: str = param(
        "",
        "Trigger word",
        "A rare word that calls the adapter; put in front of captions that lack it.",
        level="beginner",
        aka="instance_prompt concept token",
    )
    prefix: str = param("", "In front of captions", "Text in front of every caption.", aka="caption_prefix")
    suffix: str = param("", "Behind captions", "Text behind every caption.", aka="caption_suffix")
    lines: Literal["draw", "first", "join"] = param(
        "draw",
        "Several lines",
        "What the lines of a caption file are. draw: captions of their own, one drawn at each visit. "
        "first: only the first counts. join: one caption.",
        aka="enable_wildcard caption_strategy multiline",
    )
    fallback: Literal["concept", "folder", "trigger", "empty"] = param(
        "concept",
        "Without caption",
        "What stands in for a missing caption. concept: the name of a kohya folder such as 10_dog, "
        "else the trigger word. folder: the folder's name.",
        aka="class_tokens instance_prompt",
    )
    dropout: Share = param(
        0.0, "Caption dropout", "Share of visits that see an empty caption instead.", aka="caption_dropout_rate"
    )
    shuffle: bool = param(
        False, "Shuffle tags", "Put tags in another order at each visit.", aka="shuffle_caption shuffle_tokens"
    )
    keep_tokens: Count = param(
        1, "Tags kept in front", "So many first tags stay where they are when tags are shuffled.", unit="tags"
    )
    separator: Annotated[str, Field(min_length=1)] = param(
        ",", "Between tags", "What separates the tags of a caption.", aka="caption_separator"
    )
    keep_separator: str = param(
        "|||",
        "End of kept tags",
        "Where a caption has it, everything in front of it stays, and behind a second one too; empty for none.",
        aka="keep_tokens_separator",
    )
    tag_dropout: Share = param(
        0.0,
        "Tag dropout",
        "Share of tags that are left out at each visit; kept tags and the trigger word stay.",
        aka="caption_tag_dropout_rate",
    )
    wildcards: bool = param(
        True, "Choices in captions", "{a|b} in a caption is a or b, drawn at each visit.", aka="enable_wildcard"
    )
    variants: Annotated[int, Field(ge=1, le=256)] = param(
        8,
        "Variants of a caption",
        "So many orders and choices of each caption are encoded; a visit draws one of them.",
    )
