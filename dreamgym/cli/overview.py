"""What the command line shows without a command: what can be done, in ten lines."""

from __future__ import annotations

from collections.abc import Mapping

from dreamgym.cli.output import print_table

GROUPS: Mapping[str, tuple[str, str]] = {
    "see": ("demo play watch", "drive reality by a dream; play dreams"),
    "record": ("collect", "episodes of a real environment"),
    "learn": ("train dreamer improve", "a world model; with a policy; in rounds"),
    "act": ("train-policy plan", "trained in a dream; by planning in it"),
    "trust": ("eval report bench", "scores; what to trust; speed"),
    "ship": ("publish list doctor completion", "a dream and its card; what is here"),
}
"""Commands by what they are for."""


def print_overview(about: str) -> None:
    """Print what can be done."""
    print(f"{about}\n")
    print_table(None, [[name, commands, text] for name, (commands, text) in GROUPS.items()])
    print("\nBegin with: dreamgym demo --dream DreamDodge-v0. More: dreamgym --help, dreamgym COMMAND --help")
