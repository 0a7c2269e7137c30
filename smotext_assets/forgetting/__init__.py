"""Taking a text out again, with all that descends from it, and the receipt."""

from smotext_assets.forgetting.forget import forget

__all__ = ["forget"]
