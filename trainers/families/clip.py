"""CLIP text encoders, as the Stable Diffusion models and FLUX read them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def token_ids(tokenizer: Any, prompts: list[str], chunks: int = 1) -> Tensor:
    """[B, chunks * length] int64: pieces of `length` tokens (77), each with its begin and end mark, padded.

    Pieces that a prompt does not fill are read empty, as A1111 and ComfyUI do where prompts differ in length.
    """
    length = tokenizer.model_max_length
    if chunks == 1:
        padded = tokenizer(prompts, padding="max_length", max_length=length, truncation=True, return_tensors="pt")
        return padded.input_ids
    begin, end, pad = tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id
    room = length - 2
    rows = []
    for ids in tokenizer(prompts, add_special_tokens=False, truncation=False, verbose=False).input_ids:
        pieces = [ids[first : first + room] for first in range(0, chunks * room, room)]
        rows.append([token for piece in pieces for token in [begin, *piece, end, *[pad] * (room - len(piece))]])
    return torch.tensor(rows)


def states(encoder: Any, ids: Tensor, layer: int, length: int, *, normed: bool) -> tuple[Tensor, Tensor]:
    """(states [B, tokens, W], pooled [B, P] of the first piece) of token ids [B, tokens].

    layer: counted from the last, which is 1; normed: with CLIP's final norm, as SD 1.5 reads it. length: of a piece.
    pooled: the projected end mark where the encoder has a projection, else its state.
    """
    batch = len(ids)
    pieces = ids.to(encoder.device).reshape(-1, length)
    read = encoder(pieces, output_hidden_states=True)
    hidden = read.hidden_states[-layer]
    if normed:
        hidden = getattr(encoder, "text_model", encoder).final_layer_norm(hidden)
    # by name: which output comes first depends on the class
    pooled = read.text_embeds if hasattr(read, "text_embeds") else read.pooler_output
    return hidden.reshape(batch, -1, hidden.shape[-1]), pooled.reshape(batch, -1, pooled.shape[-1])[:, 0]
