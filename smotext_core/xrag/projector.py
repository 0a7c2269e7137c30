"""The projector: vectors of an encoder to token embeddings of a language model.

It needs torch as it is imported; whoever needs it imports it where it is used.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch


class Projector(torch.nn.Sequential):
    """Linear, GELU, Linear from (n, d) vectors to (n, k, hidden), k xRAG tokens a vector.

    With k = 1 it is xRAG's (Cheng et al. 2024, mlp2x_gelu). A linear `skip` from the vector to
    the tokens is added where there is one.
    """

    def __init__(
        self,
        dimension: int,
        hidden: int,
        *,
        n_tokens: int = 1,
        width: int | None = None,
        skip: bool = False,
    ) -> None:
        width = width or hidden
        super().__init__(
            torch.nn.Linear(dimension, width),
            torch.nn.GELU(),
            torch.nn.Linear(width, n_tokens * hidden),
        )
        self.dimension, self.n_tokens, self.hidden = dimension, n_tokens, hidden
        self.skip = torch.nn.Linear(dimension, n_tokens * hidden) if skip else None

    def forward(self, vectors: Any) -> Any:
        """Token embeddings (n, k, hidden) of vectors (n, d)."""
        found = self[2](self[1](self[0](vectors)))
        if self.skip is not None:
            found = found + self.skip(vectors)
        return found.view(len(vectors), self.n_tokens, self.hidden)


def load_projector(
    weights: dict[str, Any], *, dimension: int, hidden: int, n_tokens: int = 1, source: Path
) -> Projector:
    """The projector of `weights`, from `dimension` to `n_tokens` times `hidden`.

    Raises:
        ValueError: `weights` are not exactly its layers' of these sizes.
    """
    found = {name: tuple(weight.shape) for name, weight in weights.items()}
    first = found.get("0.weight", ())
    projector = Projector(
        dimension,
        hidden,
        n_tokens=n_tokens,
        width=first[0] if n_tokens > 1 and first else hidden,
        skip="skip.weight" in found,
    )
    expected = {name: tuple(weight.shape) for name, weight in projector.state_dict().items()}
    if found != expected:
        raise ValueError(f"{source} should hold the weights {expected}, it holds {found}")
    projector.load_state_dict({name: weight.float() for name, weight in weights.items()})
    return projector
