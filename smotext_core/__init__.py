"""SMOTE for text: `SMOTExT` is the front door, the modules are the parts of the asset graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from smotext_core.sampler import SMOTExT

__all__ = ["SMOTExT"]


def __getattr__(name: str) -> Any:
    # the sampler imports scikit-learn, which loading the asset graph does not wait for
    if name == "SMOTExT":
        from smotext_core.sampler import SMOTExT

        return SMOTExT
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
