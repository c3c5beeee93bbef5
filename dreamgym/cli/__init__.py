"""The `dreamgym` command."""

from dreamgym.cli.commands import main

__all__ = ["main"]
