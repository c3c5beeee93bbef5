"""A report as one self-contained HTML page, and as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from string import Template
from typing import Any

from dreamgym.report.document import Plot, Section, Table, document, headline, subtitle, verdict_table

_MOST_COLUMNS = 5
MARKS = {True: ("yes", "holds"), False: ("no", "does not hold"), None: ("unknown", "not measured")}

_PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>$title: how far to trust it</title>
<style>
:root { --paper: #ffffff; --ink: #1d2129; --faint: #69707d; --grid: #d9dce2; --card: #f5f6f8; --blue: #2f62c9;
  --orange: #c2600a; --green: #1d7a4a; --red: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --paper: #14161b; --ink: #e8eaee; --faint: #9aa2b1; --grid: #3a3f4a;
  --card: #1d2027; --blue: #7fa8ff; --orange: #f0a35c; --green: #5fc491; --red: #ff8a80; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1rem 3rem; max-width: 62rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .25rem; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .5rem; padding-top: .75rem; border-top: 1px solid var(--grid); }
p { margin: .6rem 0; max-width: 46rem; }
.sub, figcaption { color: var(--faint); }
.headline p { font-size: 1.1rem; }
.headline b { color: var(--ink); }
ul.rules { list-style: none; margin: 1rem 0; padding: 0; display: grid; gap: .6rem;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 18rem), 1fr)); }
ul.rules li { background: var(--card); border-radius: 6px; padding: .6rem .8rem; border-left: 4px solid var(--faint); }
ul.rules li.yes { border-color: var(--green); }
ul.rules li.no { border-color: var(--red); }
ul.rules b, ul.rules span { display: block; }
ul.rules .mark { font-size: .8rem; font-weight: 600; color: var(--faint); }
ul.rules .yes .mark, li.yes .mark { color: var(--green); }
ul.rules .no .mark, li.no .mark { color: var(--red); }
ul.rules .rule { font-size: .8rem; color: var(--faint); margin-top: .3rem; }
figure { margin: 1rem 0; }
figcaption { font-size: .85rem; max-width: 46rem; }
.plots { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 19rem), 1fr)); }
.plots > div { max-width: 30rem; }
.plots.wide { grid-template-columns: 1fr; }
.plots.wide > div { max-width: none; }
.plots.wide.curves > div { max-width: 40rem; }
.plots p { margin: 0 0 .2rem; font-size: .85rem; font-weight: 600; }
svg, .strip img { display: block; width: 100%; height: auto; }
.strip { display: grid; gap: 2px; grid-template-columns: repeat(auto-fit, minmax(4rem, 1fr)); }
.strip span { max-width: 7rem; font-size: .75rem; color: var(--faint); text-align: center; }
svg * { stroke-linejoin: round; stroke-linecap: butt; }
svg text { font-family: system-ui, "Segoe UI", "DejaVu Sans", sans-serif; }
.strip img { image-rendering: pixelated; }
table { border-collapse: collapse; margin: 1rem 0; font-size: .85rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; vertical-align: top; overflow-wrap: break-word; padding: .25rem .9rem .25rem 0;
  border-bottom: 1px solid var(--grid); }
th { color: var(--faint); font-weight: 600; }
@media (max-width: 40rem) {
  table.dense { font-size: .6rem; width: 100%; table-layout: fixed; }
  .dense th:first-child { width: 20%; }
  .dense th, .dense td { padding: .2rem .1rem .2rem 0; font-weight: normal; letter-spacing: -.03em; }
  .cards, .cards tbody, .cards tr, .cards td { display: block; } .cards thead { display: none; }
  .cards tr { border-bottom: 1px solid var(--grid); padding: .4rem 0; }
  .cards td { border: 0; padding: .05rem 0; display: grid; grid-template-columns: 8.5rem 1fr; gap: .5rem; }
  .cards td::before { content: attr(data-name); color: var(--faint); }
}
@media print {
  :root { --paper: #fff; --ink: #000; --faint: #444; --grid: #bbb; --card: #fff; --blue: #2f62c9; --orange: #c2600a;
    --green: #1d7a4a; --red: #b3261e; }
  body { font-size: 10pt; max-width: none; padding: 0; }
  figure, tr, ul.rules li { break-inside: avoid; } h2 { break-after: avoid; }
  ul.rules li { border: 1px solid var(--grid); border-left-width: 4px; }
}
</style>
</head>
<body>
<header>
<h1>$title</h1>
<p class="sub">$subtitle</p>
<div class="headline">$headline</div>
</header>
<main>
<section><h2>The verdict, rule by rule</h2>
<ul class="rules">
$rules
</ul></section>
$sections
</main>
</body>
</html>
""")


def to_html(report: Mapping[str, Any], pictures: Mapping[str, str]) -> str:
    """Return the page.

    Args:
        report: what `measure` returned.
        pictures: plots and strips by name, as HTML elements.
    """
    rules = []
    for holds, claim, figures, condition in verdict_table(report):
        name, word = MARKS[holds]
        rules.append(
            f'<li class="{name}"><span class="mark">{word}</span><b>{escape(claim)}</b><span>{escape(figures)}</span>'
            f'<span class="rule">Rule: {escape(condition)}.</span></li>'
        )
    return _PAGE.substitute(
        title=escape(_title(report)),
        subtitle=escape(subtitle(report)),
        headline="".join(f"<p><b>{opening}</b> {escape(line)}.</p>" for opening, line in headline(report)),
        rules="\n".join(rules),
        sections="\n".join(_section(section, pictures) for section in document(report)),
    )


def to_markdown(report: Mapping[str, Any]) -> str:
    """Return the report without its plots."""
    lines = [f"# {_title(report)}: how far to trust it", "", subtitle(report), ""]
    for opening, line in headline(report):
        lines += [f"**{opening}** {line}.", ""]
    rows = [[claim, MARKS[holds][1], figures, condition] for holds, claim, figures, condition in verdict_table(report)]
    lines += ["## The verdict, rule by rule", "", *_rows(Table(("for", "verdict", "figures", "rule"), rows)), ""]
    for section in document(report):
        lines += [f"## {section.title}", ""]
        for part in section.parts:
            if isinstance(part, Table):
                lines += [*_rows(part), ""]
            elif isinstance(part, str):
                lines += [part, ""]
    return "\n".join(lines).rstrip() + "\n"


def _title(report: Mapping[str, Any]) -> str:
    variant = report["dream"]["variant"]
    return str(report["dream"]["name"]) + (f" ({variant})" if variant else "")


def _section(section: Section, pictures: Mapping[str, str]) -> str:
    parts = [_part(part, pictures) for part in section.parts]
    return f"<section><h2>{escape(section.title)}</h2>\n" + "\n".join(part for part in parts if part) + "</section>"


def _part(part: str | Table | Plot, pictures: Mapping[str, str]) -> str:
    if isinstance(part, str):
        return f"<p>{escape(part)}</p>"
    if isinstance(part, Table):
        head = "".join(f"<th>{escape(name)}</th>" for name in part.header)
        body = "".join(f"<tr>{_cells(part.header, row)}</tr>\n" for row in part.rows)
        kind = "dense" if len(part.header) > _MOST_COLUMNS else "cards"  # on a phone: small letters, or a card a row
        return f'<table class="{kind}"><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table>'
    drawn = [name for name in part.names if name in pictures]
    if not drawn:
        return ""
    strips = "best" in drawn
    kind = "plots" + (" wide" if strips else "") + (" curves" if strips and "<svg" in pictures["best"] else "")
    inside = "".join(f"<div>{f'<p>{name}</p>' if strips else ''}{pictures[name]}</div>" for name in drawn)
    return f'<figure><div class="{kind}">{inside}</div><figcaption>{escape(part.caption)}</figcaption></figure>'


def _cells(header: Sequence[str], row: Sequence[str]) -> str:
    named = zip(header, row, strict=True)
    return "".join(f'<td data-name="{escape(name)}"><span>{escape(cell)}</span></td>' for name, cell in named)


def _rows(table: Table) -> list[str]:
    """Return a table in Markdown."""
    rows = [table.header, ["---"] * len(table.header), *table.rows]
    return ["| " + " | ".join(cell.replace("|", "/") for cell in row) + " |" for row in rows]
