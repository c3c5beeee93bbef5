"""Shell completion of commands, their options and the ids of dreams, written once and then static."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Callable, Mapping, Sequence

from dreamgym.registry import DREAMS

_BASH = """\
_dreamgym() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} words=
    if ((COMP_CWORD == 1)); then
        words="{commands}"
    elif [[ $word == -* ]]; then
        case ${{COMP_WORDS[1]}} in
{cases}
        esac
    else
        words="{dreams}"
    fi
    COMPREPLY=($(compgen -W "$words" -- "$word"))
}}
complete -o default -F _dreamgym dreamgym
"""
# a shell that was never set up has no compdef, which bashcompinit calls
_ZSH = """\
(( $+functions[compdef] )) || { autoload -U compinit && compinit -i }
autoload -U +X bashcompinit && bashcompinit
"""


def script(shell: str, run: Callable[[list[str]], int], commands: Mapping[str, str]) -> str:
    """Return what a shell has to read.

    Args:
        shell: bash, zsh or fish.
        run: runs a command line; it is asked for the help of every command.
        commands: what each does, by its name.
    """
    options = {name: options_of(run, name) for name in commands}
    dreams = sorted(DREAMS)
    if shell == "fish":
        return "\n".join(_fish(options, commands, dreams)) + "\n"
    cases = "\n".join(f'            {name}) words="{" ".join(found)}" ;;' for name, found in options.items())
    bash = _BASH.format(commands=" ".join(commands), cases=cases, dreams=" ".join(dreams))
    return bash if shell == "bash" else _ZSH + bash


def options_of(run: Callable[[list[str]], int], command: str) -> list[str]:
    """Return the options that the help of a command names."""
    with contextlib.redirect_stdout(io.StringIO()) as help_, contextlib.suppress(SystemExit):
        run([command, "--help"])
    return list(dict.fromkeys(re.findall(r"(?<![\w-])--[a-z][\w.-]*", help_.getvalue())))


def _fish(options: Mapping[str, Sequence[str]], commands: Mapping[str, str], dreams: Sequence[str]) -> list[str]:
    lines = [f"complete -c dreamgym -n __fish_use_subcommand -f -a {name} -d '{_plain(does)}'"
             for name, does in commands.items()]  # fmt: skip
    for name, found in options.items():
        lines += [f"complete -c dreamgym -n '__fish_seen_subcommand_from {name}' -l {option[2:]}" for option in found]
    return [*lines, f"complete -c dreamgym -n 'not __fish_use_subcommand' -a '{' '.join(dreams)}'"]


def _plain(text: str) -> str:
    return text.replace("'", "")
