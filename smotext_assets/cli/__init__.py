"""The command `smotext`, a file each subcommand."""

from smotext_assets.cli.command import main

__all__ = ["main"]
