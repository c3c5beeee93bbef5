"""The code blocks of the documentation's pages, and a program that runs those of one page in order, at small size."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").glob("*.md"))
SHELL, PYTHON, DATA = ("sh", "bash"), ("python",), ("text", "toml")
NOT_RUN = re.compile(r"\*Not run in CI[^*]*: [^*]+\*\n\n\Z")  # the paragraph before a block that stays as it is
FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BUDGET = re.compile(r"\b\d{1,3}(_\d{3})+\b")  # numbers with underscores say how long something goes on
MOST = 8_192

FEWER = {  # subcommand -> options that make it short
    "collect": "--episodes 20",
    "train": "",
    "train-policy": "--decisions 16384",
    "eval": "--episodes 2",
    "play": "--headless --steps 5",
    "watch": "--steps 3 --video grid.mp4",
    "plan": "--episodes 1 --num-candidates 40 --horizon 3",
    "dreamer": "--steps 60 --prefill 40 --eval-episodes 1 --train-ratio 32",
    "publish": "--episodes 2",
    "report": "--episodes 2 --record 6 --windows 4 --draws 2 --horizon 5",
}
STAGES = {  # option of `train` -> steps of its family's stages
    "mlp_ensemble": "--ensemble.steps 2 --starts 50",
    "rssm": "--rssm.steps 2 --rssm.batch-size 2 --starts 50",
    "vae_mdn_rnn": "--vae.steps 2 --vae.batch-size 4 --mdn-rnn.steps 2 --mdn-rnn.batch-size 2 --starts 50",
}


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: Path
    language: str
    text: str
    excused: bool
    """The page says above it that it is not run, and why."""


def read_blocks(page: Path) -> list[Block]:
    """Return a page's blocks in order."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(page, match[1], match[2], bool(NOT_RUN.search(text[: match.start()]))) for match in FENCE.finditer(text)
    ]


def program(blocks: list[Block], smaller: dict[str, str] | None = None) -> str:
    """Return a Python program that does what blocks say, in order.

    Args:
        blocks: those that are to be run.
        smaller: what else is to be replaced in them, to make them short.
    """
    parts = ["import subprocess, sys"]
    for block in blocks:
        text = block.text
        for old, new in (smaller or {}).items():
            text = text.replace(old, new)
        if block.language in PYTHON:
            parts.append(BUDGET.sub(lambda found: str(min(int(found[0].replace("_", "")), MOST)), text))
        else:
            lines = text.replace("\\\n", " ").splitlines()
            parts += [f"subprocess.run([sys.executable, *{command(line)!r}], check=True)" for line in lines]
    return "\n".join(parts)


def command(line: str) -> list[str]:
    """Return what to hand to a Python interpreter so that a line of shell is run, at small size.

    Raises:
        ValueError: if the line is neither dreamgym's nor an example's.
    """
    words = shlex.split(line, comments=True)
    if words[:1] == ["dreamgym"]:
        name, *rest = words[1:]
        family = rest[rest.index("--model") + 1] if "--model" in rest else "vae_mdn_rnn"
        fewer = STAGES[family] if name == "train" else FEWER[name]
        return ["-m", "dreamgym", name, *rest, *fewer.split()]
    if words[:1] == ["python"] and words[1].startswith("examples/"):
        return [str(ROOT / words[1]), *words[2:], "--smoke"]
    raise ValueError(f"{line!r} cannot be run in CI; say above its block: *Not run in CI: why.*")
