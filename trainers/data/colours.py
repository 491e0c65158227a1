"""Pictures of any mode as red, green and blue of 8 bits in sRGB, and their transparency."""

from __future__ import annotations

from functools import lru_cache
from io import BytesIO

import numpy as np
from PIL import Image, ImageCms

# by mode: the colour space that a profile must be of to mean it
SPACES = {"RGB": "RGB", "L": "GRAY", "CMYK": "CMYK", "LAB": "Lab"}
WITHOUT_ALPHA = {"RGBA": "RGB", "RGBa": "RGB", "RGBX": "RGB", "LA": "L", "La": "L", "1": "L", "YCbCr": "RGB"}


def to_rgb(picture: Image.Image, background: str) -> Image.Image:
    """picture: decoded, of any mode. The transparent parts show the background. The result holds no metadata."""
    alpha = to_alpha(picture)
    colours = _to_srgb(picture)
    if alpha is not None:
        colours = Image.composite(colours, Image.new("RGB", colours.size, background), alpha)
    # a profile that stayed would be applied a second time by whoever shows the picture
    colours.info = {}
    return colours


def to_alpha(picture: Image.Image) -> Image.Image | None:
    """White where the picture is opaque, as "L"; None when it has no transparency."""
    if not picture.has_transparency_data:
        return None
    if _is_deep(picture):
        opaque = np.asarray(picture) != picture.info["transparency"]
        return Image.fromarray(opaque.astype(np.uint8) * 255)
    return picture.convert("RGBA").getchannel("A")


def to_grey(picture: Image.Image) -> Image.Image:
    """The plain values, as a mask means them, as "L"; transparent parts are black."""
    alpha = to_alpha(picture)
    grey = _to_8_bits(picture) if _is_deep(picture) else _unpacked(picture).convert("L")
    if alpha is not None:
        grey = Image.composite(grey, Image.new("L", grey.size, 0), alpha)
    grey.info = {}
    return grey


def _to_srgb(picture: Image.Image) -> Image.Image:
    plain = _to_8_bits(picture) if _is_deep(picture) else _unpacked(picture)
    profile = picture.info.get("icc_profile")
    if profile:
        base = plain.convert(WITHOUT_ALPHA[plain.mode]) if plain.mode in WITHOUT_ALPHA else plain
        transform = _transform(bytes(profile), base.mode)
        if transform is not None:
            managed = ImageCms.applyTransform(base, transform)
            assert managed is not None  # only when it works in place
            return managed
    return plain.convert("RGB")


def _unpacked(picture: Image.Image) -> Image.Image:
    """A palette's colours themselves. By way of RGBA: Pillow warns when transparent entries get lost on the way."""
    return picture.convert("RGBA") if picture.mode in ("P", "PA") else picture


@lru_cache(64)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """From the profile's colours to sRGB; None when nothing is to do, or it is damaged or of another space."""
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        if "srgb" in ImageCms.getProfileDescription(source).lower():
            return None
        if source.profile.xcolor_space.strip() != SPACES.get(mode):
            return None
        return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (OSError, ImageCms.PyCMSError, ValueError, TypeError, AttributeError):
        return None  # the colours without it are near enough, and all that other programs show


def _is_deep(picture: Image.Image) -> bool:
    """Whole numbers of 16 or 32 bits, or real ones."""
    return picture.mode.startswith(("I", "F"))


def _to_8_bits(picture: Image.Image) -> Image.Image:
    """Deep grey as grey of 8 bits: Pillow would cut everything above 255 to white."""
    levels = np.nan_to_num(np.asarray(picture, dtype=np.float64))
    brightest = levels.max()
    if picture.mode.startswith("I;16"):
        white = 65535.0
    elif picture.mode == "F" and brightest <= 1:
        white = 1.0
    else:
        white = next((level for level in (255.0, 65535.0) if brightest <= level), brightest)
    return Image.fromarray(np.clip((levels * (255 / white)).round(), 0, 255).astype(np.uint8))
