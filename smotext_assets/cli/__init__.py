"""The command `smotext`, a file each subcommand."""

from smotext_assets.cli.main import main

__all__ = ["main"]
