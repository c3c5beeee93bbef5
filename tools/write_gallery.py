"""Write the gallery page from the cards and reports of the shipped dreams.

    python tools/write_gallery.py

Writes docs/gallery.md; a test says when it is out of date. `tools/record_gallery.py` makes its pictures.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dreamgym.cli.listing import listing
from dreamgym.hub import read_card

DOCS = Path(__file__).parents[1] / "docs"
REAL_EXTRAS = {"DoomTakeCover-v0": "doom"}
"""Real twins that need more than the package -> the extra that brings it."""
LEAD = """# Gallery

Every dream that ships, with what its card and its report say. In the loops the dream begins in a moment of the real
episode; from there on the shipped policy drives each side by what it sees of it, so the dream makes up its own road.
`python tools/record_gallery.py` records them, `python tools/write_gallery.py` writes this page.

Scores are means and spreads of fresh episodes on which no choice was made. Trust is measured by [a report](reports.md).
"""


def page() -> str:
    """Return the gallery as Markdown."""
    rows = [row for row in listing()["dreams"] if row["present"]]
    ids = dict.fromkeys(row["id"] for row in rows)
    parts = [LEAD, overview(rows)]
    for dream in ids:
        variants = [row for row in rows if row["id"] == dream]
        default = f'`{variants[0]["variant"]}` is the variant that `gym.make("{dream}")` gives.'
        parts.append(f"## {dream}\n\nThe real twin is `{variants[0]['real']}`; {default}\n")
        parts += [section(row, default=row is variants[0]) for row in variants]
    return "\n".join(parts)


def overview(rows: list[dict[str, Any]]) -> str:
    """Return a table with a line for each dream."""
    lines = []
    for row in rows:
        mean = [f"{row['scores'][side]['mean']:.0f} ± {row['scores'][side]['std']:.0f}" for side in ("dream", "real")]
        name = f"[{row['id']}, {row['variant']}](#{anchor(row)})"
        lines.append([name, *mean, f"{row['bytes'] / 1e6:.1f}"])
    return table(("dream and variant", "score in it", "real score", "MB"), lines)


def anchor(row: Mapping[str, Any]) -> str:
    """Return the anchor of a dream's section, as GitHub and the site make it of its heading."""
    return heading(row).lower().replace(" ", "-")


def heading(row: Mapping[str, Any]) -> str:
    """Return the heading of a dream's section."""
    return f"{row['id']} as {row['variant']}"


def section(row: Mapping[str, Any], default: bool) -> str:
    """Return what the gallery says of one variant."""
    name, card = Path(row["folder"]).name, read_card(Path(row["folder"]))
    return "\n".join(
        [
            f"### {heading(row)}\n",
            picture(name, row),
            table(("the card", ""), list(facts(row, card))),
            table(("who acts", "in the dream", "in the real env"), scores(card)),
            trust(name, row, card, default),
            commands(row, card, default),
        ]
    )


def picture(name: str, row: Mapping[str, Any]) -> str:
    """Return the loop; who prefers no motion sees its first picture."""
    where = f"pictures/gallery/{name}"
    said = f"Left {row['real']}, right the dream that began in the same moment; the shipped policy drives both."
    return (
        f'<picture><source media="(prefers-reduced-motion: reduce)" srcset="{where}.png">'
        f'<img src="{where}.webp" width="408" height="224" alt="{said}" loading="lazy"></picture>\n'
    )


def facts(row: Mapping[str, Any], card: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what the card says, in words."""
    data, learned = card["data"], card["policy_training"]
    stages = ", ".join(f"`{stage}` {steps:,}" for stage, steps in card["training"]["steps"].items())
    means = f"mean return {data['return_mean']:.0f}"
    yield "family", f"`{row['family']}`, {row['bytes'] / 1e6:.1f} MB with start bank and policy"
    yield "learned from", f"{data['episodes']:,} episodes, {data['steps']:,} decisions, {means}"
    yield "steps of its last training", stages
    yield "its policy", f"{learned['weights']:,} weights, {learned['decisions']:,} dreamed decisions"
    yield "time limit", f"{card['max_episode_steps']} decisions, {card['render_fps']:g} a second"
    yield "scores", f"{card['scores']['real']['episodes']} episodes each, seeds from {card['seed']:,}"


def scores(card: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return a row for the shipped policy and one for each probe: mean, spread and worst."""
    pairs = {"the shipped policy": card["scores"], **card.get("probes", {})}
    return [(who, *(f"{p[s]['mean']:.0f} ± {p[s]['std']:.0f}, worst {p[s]['min']:.0f}" for s in ("dream", "real")))
            for who, p in pairs.items()]  # fmt: skip


def trust(name: str, row: Mapping[str, Any], card: Mapping[str, Any], default: bool) -> str:
    """Return the report's verdict, or how to make one."""
    if not (path := DOCS / "reports" / f"{name}.json").is_file():
        return f"**Trust**: no report ships; `dreamgym report {called(row, default)}` makes one.\n"
    verdict, report = json.loads(path.read_text())["verdict"], card["report"]
    rows = [(rule["claim"], {True: "yes", False: "**no**", None: "not measured"}[rule["holds"]], rule["figures"])
            for rule in verdict]  # fmt: skip
    return (
        f"**Trust**, by a report on {report['policies']} policies ([all of it](reports/{name}.md), "
        f"[the rules](reports.md#how-to-read-it)):\n\n" + table(("for", "", "figures"), rows)
    )


def commands(row: Mapping[str, Any], card: Mapping[str, Any], default: bool) -> str:
    """Return what to type, and what was typed to make the dream."""
    told = called(row, default)
    made = "\n".join(card["commands"])
    remark = f"\n{card['remark']}\n" if card.get("remark") else ""
    extra = REAL_EXTRAS.get(row["real"])
    needs = f'*Not run in CI as it stands: the real twin needs `pip install "dreamgym[{extra}]"`.*\n\n' if extra else ""
    return f"""{needs}```sh
dreamgym play {told} --side-by-side
dreamgym eval {told} --episodes {card["scores"]["real"]["episodes"]} --seed {card["seed"]}
```

<details markdown="1"><summary>The {len(card["commands"])} commands that made it</summary>
{remark}
*Not run in CI: hours of recording and training.*

```sh
{made}
```

</details>
"""


def called(row: Mapping[str, Any], default: bool) -> str:
    """Return how a command names a dream."""
    return row["id"] if default else f"{row['id']} --variant {row['variant']}"


def table(header: tuple[str, ...], rows: list[Any]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


if __name__ == "__main__":
    (DOCS / "gallery.md").write_text(page(), encoding="utf-8")
    print(DOCS / "gallery.md")
