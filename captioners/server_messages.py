"""What is asked of a server that speaks OpenAI's protocol, and what its answer means. Light; no network."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Mapping
from typing import Any

from PIL import Image

from captioners.base import Request, Result
from captioners.config import CaptionConfig
from captioners.faults import fault_of
from captioners.server_endpoint import checked_url

QUALITY = 92  # of JPEG
PIXELS_A_TOKEN = 28 * 28  # in Qwen2.5-VL; others are of that order
SIGNS_A_TOKEN = 4  # of English text
LARGEST_SEED = 2**31 - 1  # some servers take no more
ONLY_MODEL = "(the server's only model)"
THOUGHTS = re.compile(r"<think(?:ing)?>.*?</think(?:ing)?>", re.DOTALL | re.IGNORECASE)
THOUGHT_END = re.compile(r".*</think(?:ing)?>", re.DOTALL | re.IGNORECASE)
THOUGHT_START = re.compile(r"<think(?:ing)?>.*", re.DOTALL | re.IGNORECASE)
ONLY_THOUGHTS = (
    "the model thought until its tokens were used up: raise generate.max_tokens, or take one without thoughts"
)
FILTERED = "the content filter of the server stopped it"

Body = dict[str, Any]


def question(config: CaptionConfig, request: Request, model: str) -> Body:
    """Body of POST /chat/completions. config: resolved."""
    picture = base64.b64encode(jpeg(request.image, config.server.max_side)).decode()
    content = [
        {"type": "text", "text": _sendable(request.prompt)},
        {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{picture}"}},
    ]
    system = [{"role": "system", "content": _sendable(config.prompt.system)}] if config.prompt.system.strip() else []
    drawing = config.generate
    body = {
        "model": model,
        "messages": [*system, {"role": "user", "content": content}],
        "temperature": drawing.temperature,
        "top_p": drawing.top_p,
        "max_tokens": drawing.max_tokens,
        "seed": request.seed & LARGEST_SEED,
    }
    # not of OpenAI's protocol, which refuses what it does not know
    return body | ({"top_k": drawing.top_k} if drawing.top_k else {})


def _sendable(text: str) -> str:
    """Without halves of surrogate pairs, which names of files may hold."""
    return text.encode("utf-8", "ignore").decode()


def jpeg(image: Image.Image, max_side: int) -> bytes:
    """The picture as JPEG in RGB, its longer side at most max_side pixels; never enlarged."""
    file = io.BytesIO()
    scaled(image.convert("RGB"), max_side).save(file, "JPEG", quality=QUALITY)
    return file.getvalue()


def scaled(image: Image.Image, max_side: int) -> Image.Image:
    longer = max(image.size)
    if longer <= max_side:
        return image
    width, height = (max(1, round(side * max_side / longer)) for side in image.size)
    return image.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=3.0)


def would_send(config: CaptionConfig, request: Request) -> dict[str, Any]:
    """What a picture would cost, with nothing sent: url, model, system, prompt, width, height, bytes, max_tokens, and
    estimated_tokens of the question, which is rough: every model counts pictures in its own way."""
    content = jpeg(request.image, config.server.max_side)
    with Image.open(io.BytesIO(content)) as picture:
        width, height = picture.size
    signs = len(config.prompt.system) + len(request.prompt)
    return {
        "url": checked_url(config.server.url),
        "model": config.server.model or ONLY_MODEL,
        "system": config.prompt.system,
        "prompt": request.prompt,
        "width": width,
        "height": height,
        "bytes": len(content),
        "max_tokens": config.generate.max_tokens,
        "estimated_tokens": -(-width * height // PIXELS_A_TOKEN) + -(-signs // SIGNS_A_TOKEN),
    }


def read_answer(body: Any) -> Result:
    """body: the JSON of an answer with status 200. Raises ValueError for one that holds no text of a model."""
    choice = _first_choice(body)
    message, finish = choice["message"], choice.get("finish_reason")
    written = _text(message.get("content"))
    if message.get("refusal") or finish == "content_filter":
        why = f"the model refused: {message['refusal']}" if message.get("refusal") else FILTERED
        return Result("", "refused", why)
    text = without_thoughts(written)
    cut_off = finish == "length"
    if not text and (written.strip() or message.get("reasoning_content") or message.get("reasoning")):
        return Result("", "empty", ONLY_THOUGHTS, truncated=cut_off)
    return Result(text, fault_of(text), truncated=cut_off)


def _first_choice(body: Any) -> Mapping[str, Any]:
    choices = body.get("choices") if isinstance(body, dict) else None
    first = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(first, dict) or not isinstance(first.get("message"), dict):
        raise ValueError("it holds no answer of a model")
    return first


def _text(content: Any) -> str:
    """A text, or the texts of its parts; "" where there is none."""
    if isinstance(content, list):
        return "".join(str(part.get("text") or "") for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def without_thoughts(text: str) -> str:
    """The text without <think>...</think>. The first tag may be missing, as part of the prompt; so may the last, of
    thoughts that were cut off."""
    return THOUGHT_START.sub("", THOUGHT_END.sub("", THOUGHTS.sub("", text))).strip()
