"""Attention of one new token a row, in the groups that share keys (Ainslie et al. 2023, GQA)."""

from __future__ import annotations

from typing import Any

GROUPED = "smotext_grouped"


def grouped_attention(lm: Any) -> Any:
    """`lm`, attending by groups where a step asks one query a row, else as transformers does.

    On a processor scaled_dot_product_attention takes a third of the time of a small model's step,
    most of it spent on copies of keys and values that heads of a group share.
    """
    from transformers import AttentionInterface

    AttentionInterface.register(GROUPED, _attend)
    lm.set_attn_implementation(GROUPED)
    return lm


def _attend(
    module: Any,
    query: Any,  # (n, heads, queries, width)
    key: Any,  # (n, groups, places, width)
    value: Any,
    attention_mask: Any,
    scaling: float | None = None,
    dropout: float = 0.0,
    **options: Any,
) -> tuple[Any, None]:
    import torch
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    n, heads, queries, width = query.shape
    groups = key.shape[1]
    if queries != 1 or attention_mask is not None or query.requires_grad:
        found: tuple[Any, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **options
        )
        return found
    scale = width**-0.5 if scaling is None else scaling
    grouped = query.view(n, groups, heads // groups, width)
    weights = torch.softmax((grouped @ key.transpose(-1, -2)).float() * scale, dim=-1)
    return (weights.to(value.dtype) @ value).view(n, 1, heads, width), None
