"""The prompts that JoyCaption was trained on, word for word: another wording gives poorer captions. Light.

As the author published them (github.com/fpgaminer/joycaption, Apache-2.0).

Three templates of a type: no length, a number of words ({word_count}), a length in words ({length}).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Dialect = Literal["beta", "alpha"]
Templates = tuple[str, str, str]

_STRAIGHTFORWARD = (
    " Begin with the main subject and medium. Mention pivotal elements\u2014people, objects, scenery\u2014using "
    "confident, definite language. Focus on concrete details like color, shape, texture, and spatial relationships. "
    "Show how elements interact. Omit mood and speculative wording. If text is present, quote it exactly. Note any "
    "watermarks, signatures, or compression artifacts. Never mention what's absent, resolution, or unobservable "
    "details. Vary your sentence structure and keep the description concise, without starting with \u201cThis image "
    "is\u2026\u201d or similar phrasing."
)
_DANBOORU = (
    "Generate only comma-separated Danbooru tags (lowercase_underscores). Strict order: `artist:`, `copyright:`, "
    "`character:`, `meta:`, then general tags. Include counts (1girl), appearance, clothing, accessories, pose, "
    "expression, actions, background. Use precise Danbooru syntax. No extra text."
)
_E621 = (
    "comma-separated list of e621 tags in alphabetical order for this image. Start with the artist, copyright, "
    "character, species, meta, and lore tags (if any), prefixed by 'artist:', 'copyright:', 'character:', 'species:', "
    "'meta:', and 'lore:'. Then all the general tags."
)
_RULE34 = (
    "comma-separated list of rule34 tags in alphabetical order for this image. Start with the artist, copyright, "
    "character, and meta tags (if any), prefixed by 'artist:', 'copyright:', 'character:', and 'meta:'. Then all the "
    "general tags."
)
_CRITIC = (
    "Analyze this image like an art critic would with information about its composition, style, symbolism, the use of "
    "color, light, any artistic movement it might belong to, etc."
)
_STABLE_DIFFUSION = "stable diffusion prompt that is indistinguishable from a real stable diffusion prompt."

_BOTH: Mapping[str, Templates] = {
    "MidJourney": (
        "Write a MidJourney prompt for this image.",
        "Write a MidJourney prompt for this image within {word_count} words.",
        "Write a {length} MidJourney prompt for this image.",
    ),
    "Booru-like tag list": (
        "Write a list of Booru-like tags for this image.",
        "Write a list of Booru-like tags for this image within {word_count} words.",
        "Write a {length} list of Booru-like tags for this image.",
    ),
    "Art Critic": (_CRITIC, _CRITIC + " Keep it within {word_count} words.", _CRITIC + " Keep it {length}."),
    "Product Listing": (
        "Write a caption for this image as though it were a product listing.",
        "Write a caption for this image as though it were a product listing. Keep it under {word_count} words.",
        "Write a {length} caption for this image as though it were a product listing.",
    ),
    "Social Media Post": (
        "Write a caption for this image as if it were being used for a social media post.",
        "Write a caption for this image as if it were being used for a social media post. Limit the caption to "
        "{word_count} words.",
        "Write a {length} caption for this image as if it were being used for a social media post.",
    ),
}
_CASUAL: Templates = (
    "Write a descriptive caption for this image in a casual tone.",
    "Write a descriptive caption for this image in a casual tone within {word_count} words.",
    "Write a {length} descriptive caption for this image in a casual tone.",
)

_BETA_TYPES: Mapping[str, Templates] = {
    "Descriptive": (
        "Write a detailed description for this image.",
        "Write a detailed description for this image in {word_count} words or less.",
        "Write a {length} detailed description for this image.",
    ),
    "Descriptive (Casual)": _CASUAL,
    "Straightforward": (
        "Write a straightforward caption for this image." + _STRAIGHTFORWARD,
        "Write a straightforward caption for this image within {word_count} words." + _STRAIGHTFORWARD,
        "Write a {length} straightforward caption for this image." + _STRAIGHTFORWARD,
    ),
    "Stable Diffusion Prompt": (
        f"Output a {_STABLE_DIFFUSION}",
        f"Output a {_STABLE_DIFFUSION}" + " {word_count} words or less.",
        "Output a {length} " + _STABLE_DIFFUSION,
    ),
    "MidJourney": _BOTH["MidJourney"],
    "Danbooru tag list": (_DANBOORU, _DANBOORU + " {word_count} words or less.", _DANBOORU + " {length} length."),
    "e621 tag list": (
        f"Write a {_E621}",
        f"Write a {_E621}" + " Keep it under {word_count} words.",
        "Write a {length} " + _E621,
    ),
    "Rule34 tag list": (
        f"Write a {_RULE34}",
        f"Write a {_RULE34}" + " Keep it under {word_count} words.",
        "Write a {length} " + _RULE34,
    ),
    **{name: _BOTH[name] for name in ("Booru-like tag list", "Art Critic", "Product Listing", "Social Media Post")},
}
_ALPHA_TYPES: Mapping[str, Templates] = {
    "Descriptive": (
        "Write a descriptive caption for this image in a formal tone.",
        "Write a descriptive caption for this image in a formal tone within {word_count} words.",
        "Write a {length} descriptive caption for this image in a formal tone.",
    ),
    "Descriptive (Informal)": _CASUAL,
    "Training Prompt": (
        "Write a stable diffusion prompt for this image.",
        "Write a stable diffusion prompt for this image within {word_count} words.",
        "Write a {length} stable diffusion prompt for this image.",
    ),
    "MidJourney": _BOTH["MidJourney"],
    "Booru tag list": (
        "Write a list of Booru tags for this image.",
        "Write a list of Booru tags for this image within {word_count} words.",
        "Write a {length} list of Booru tags for this image.",
    ),
    **{name: _BOTH[name] for name in ("Booru-like tag list", "Art Critic", "Product Listing", "Social Media Post")},
}

NAME_OPTION = "name"
_ALPHA_OPTIONS: Mapping[str, str] = {
    NAME_OPTION: "If there is a person/character in the image you must refer to them as {name}.",
    "changeable": "Do NOT include information about people/characters that cannot be changed (like ethnicity, gender, "
    "etc), but do still include changeable attributes (like hair style).",
    "lighting": "Include information about lighting.",
    "camera_angle": "Include information about camera angle.",
    "watermark": "Include information about whether there is a watermark or not.",
    "jpeg_artifacts": "Include information about whether there are JPEG artifacts or not.",
    "camera_details": "If it is a photo you MUST include information about what camera was likely used and details "
    "such as aperture, shutter speed, ISO, etc.",
    "pg": "Do NOT include anything sexual; keep it PG.",
    "no_resolution": "Do NOT mention the image's resolution.",
    "aesthetic_quality": "You MUST include information about the subjective aesthetic quality of the image from low to "
    "very high.",
    "composition": "Include information on the image's composition style, such as leading lines, rule of thirds, or "
    "symmetry.",
    "no_text": "Do NOT mention any text that is in the image.",
    "depth_of_field": "Specify the depth of field and whether the background is in focus or blurred.",
    "light_sources": "If applicable, mention the likely use of artificial or natural lighting sources.",
    "no_ambiguity": "Do NOT use any ambiguous language.",
    "rating": "Include whether the image is sfw, suggestive, or nsfw.",
    "important_only": "ONLY describe the most important elements of the image.",
}
_BETA_OPTIONS: Mapping[str, str] = {
    **_ALPHA_OPTIONS,
    "no_artist": "If it is a work of art, do not include the artist's name or the title of the work.",
    "orientation": "Identify the image orientation (portrait, landscape, or square) and aspect ratio if obvious.",
    "profanity": 'Use vulgar slang and profanity, such as (but not limited to) "fucking," "slut," "cock," etc.',
    "no_euphemisms": "Do NOT use polite euphemisms\u2014lean into blunt, casual phrasing.",
    "ages": "Include information about the ages of any people/characters when applicable.",
    "shot_size": "Mention whether the image depicts an extreme close-up, close-up, medium close-up, medium shot, "
    "cowboy shot, medium wide shot, wide shot, or extreme wide shot.",
    "no_mood": "Do not mention the mood/feeling/etc of the image.",
    "vantage_height": "Explicitly specify the vantage height (eye-level, low-angle worm\u2019s-eye, bird\u2019s-eye, "
    "drone, rooftop, etc.).",
    "mention_watermark": "If there is a watermark, you must mention it.",
    "no_meta_phrases": "Your response will be used by a text-to-image model, so avoid useless meta phrases like "
    '\u201cThis image shows\u2026\u201d, "You are looking at...", etc.',
}

CAPTION_TYPES: Mapping[Dialect, Mapping[str, Templates]] = {"beta": _BETA_TYPES, "alpha": _ALPHA_TYPES}
OPTIONS: Mapping[Dialect, Mapping[str, str]] = {"beta": _BETA_OPTIONS, "alpha": _ALPHA_OPTIONS}
FEWEST_WORDS, MOST_WORDS = 20, 260
LENGTHS = (
    "any",
    *("very short", "short", "medium-length", "long", "very long"),
    *(str(words) for words in range(FEWEST_WORDS, MOST_WORDS + 1, 10)),
)
