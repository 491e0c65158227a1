"""Colours and type, as a Gradio theme and as the variables that `assets/css/atelier.css` reads."""

from __future__ import annotations

import gradio as gr

# name -> (light, dark); contrast of text on its ground is 4.5 : 1 or more
PALETTE = {
    "ground": ("#f7f7f5", "#141517"),
    "surface": ("#ffffff", "#1c1e21"),
    "border": ("#e3e3de", "#2c2f33"),
    "text": ("#1d1f21", "#e7e8ea"),
    "muted": ("#6b7076", "#9aa0a6"),
    "accent": ("#0f766e", "#2dd4bf"),
    "on-accent": ("#ffffff", "#06211e"),
    "warning": ("#b45309", "#fbbf24"),
    "danger": ("#b91c1c", "#f87171"),
    "good": ("#15803d", "#4ade80"),
}

LATIN = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans")
SANS = (*LATIN, "Noto Sans CJK SC", "Microsoft YaHei", "PingFang SC", "sans-serif")
MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "Noto Sans Mono", "monospace")


def theme() -> gr.themes.Base:
    """The Gradio theme; only system fonts, so nothing is fetched."""
    base = gr.themes.Base(
        font=[gr.themes.Font(name) for name in SANS],
        font_mono=[gr.themes.Font(name) for name in MONO],
        text_size=gr.themes.sizes.text_sm,
        spacing_size=gr.themes.sizes.spacing_sm,
        radius_size=gr.themes.sizes.radius_md,
    )
    settings = {
        "body_background_fill": "ground",
        "background_fill_primary": "surface",
        "background_fill_secondary": "ground",
        "block_background_fill": "surface",
        "panel_background_fill": "ground",
        "input_background_fill": "surface",
        "border_color_primary": "border",
        "block_border_color": "border",
        "input_border_color": "border",
        "input_border_color_focus": "accent",
        "body_text_color": "text",
        "body_text_color_subdued": "muted",
        "block_label_text_color": "muted",
        "block_title_text_color": "text",
        "block_info_text_color": "muted",
        "input_placeholder_color": "muted",
        "color_accent": "accent",
        "color_accent_soft": "ground",
        "button_primary_background_fill": "accent",
        "button_primary_background_fill_hover": "accent",
        "button_primary_text_color": "on-accent",
        "button_primary_border_color": "accent",
        "button_secondary_background_fill": "surface",
        "button_secondary_background_fill_hover": "ground",
        "button_secondary_text_color": "text",
        "button_secondary_border_color": "border",
        "checkbox_background_color_selected": "accent",
        "checkbox_border_color_selected": "accent",
        "error_text_color": "danger",
        "error_border_color": "danger",
    }
    values = {name: PALETTE[colour][0] for name, colour in settings.items()}
    values |= {f"{name}_dark": PALETTE[colour][1] for name, colour in settings.items() if name != "color_accent"}
    flat = {"shadow_drop": "none", "block_shadow": "none", "block_border_width": "0px", "block_padding": "0px"}
    return base.set(**values, **flat, input_border_width="1px")


def variables() -> str:
    """The palette as CSS, for our own widgets."""
    light = "".join(f"--{name}:{colours[0]};" for name, colours in PALETTE.items())
    dark = "".join(f"--{name}:{colours[1]};" for name, colours in PALETTE.items())
    return f":root{{{light}color-scheme:light}}.dark{{{dark}color-scheme:dark}}"
