"""The documentation site builds strictly, fetches nothing from elsewhere, loses no link, and describes its pictures."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))
MEGABYTES = 6  # all pictures of the site together


class Page(HTMLParser):
    """What a page asks for, where its links lead, what can be linked to, and which pictures say nothing."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path, self.links, self.parts, self.anchors, self.mute = path, [], [], {""}, []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.anchors.add(found.get("id", found.get("name", "")))
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        elif tag == "link" and found.get("rel") in ("stylesheet", "icon", "preconnect"):
            self.parts.append(found["href"])
        for name in ("src", "srcset"):
            if name in found:
                self.parts.append(found[name])
        if tag == "img" and len(found.get("alt", "")) < 5:
            self.mute.append(found.get("src"))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Page]:
    """Return the pages of the site, built from a copy."""
    if importlib.util.find_spec("zensical") is None:
        pytest.skip('needs "dreamgym[docs]"')
    copy = tmp_path_factory.mktemp("site")
    for name in ("docs", "dreamgym", "wrappers"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("CHANGELOG.md", "zensical.toml"):
        shutil.copy(ROOT / name, copy)
    build = [sys.executable, "-m", "zensical", "build", "--strict"]
    done = subprocess.run(build, cwd=copy, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    pages = (copy / "build" / "site").rglob("*.html")
    return {path: Page(path) for path in pages if path.name != "404.html"}


@pytest.mark.slow
def test_every_link_and_anchor_inside_leads_somewhere(site: dict[Path, Page]):
    lost = []
    for page in site.values():
        for link in [*page.links, *page.parts]:
            url = urlsplit(link)
            if url.scheme:
                continue
            target = (page.path.parent / unquote(url.path)).resolve() if url.path else page.path
            there = target in site and unquote(url.fragment) in site[target].anchors
            if not there and not (target.is_file() and target not in site):
                lost.append((page.path.name, link))
    assert lost == []


@pytest.mark.slow
def test_nothing_is_fetched_from_other_hosts(site: dict[Path, Page]):
    parts = {part for page in site.values() for part in page.parts}
    assert parts
    assert [part for part in parts if urlsplit(part).netloc] == []


@pytest.mark.slow
def test_every_picture_has_a_text(site: dict[Path, Page]):
    assert [(page.path.name, picture) for page in site.values() for picture in page.mute] == []


@pytest.mark.slow
def test_every_public_name_is_in_the_reference(site: dict[Path, Page]):
    import dreamgym

    anchors = {anchor for page in site.values() for anchor in page.anchors}
    where = {name: f"{getattr(dreamgym, name).__module__}.{name}" for name in dreamgym._LAZY}
    assert [name for name, anchor in where.items() if anchor not in anchors] == []


def test_the_gallery_is_what_cards_and_reports_say():
    from write_gallery import DOCS, page

    assert (DOCS / "gallery.md").read_text(encoding="utf-8") == page(), "run: python tools/write_gallery.py"


def test_the_drawing_is_what_its_command_draws():
    from draw_data_flow import OUT, drawing

    assert OUT.read_text(encoding="utf-8") == drawing(), "run: python tools/draw_data_flow.py"


def test_every_shipped_dream_has_its_loop():
    from write_gallery import DOCS, listing

    names = {Path(row["folder"]).name for row in listing()["dreams"] if row["present"] and "Dream" in row["id"]}
    shown = {path.stem for path in (DOCS / "pictures" / "gallery").glob("*.webp")}
    assert shown == names, "run: python tools/record_gallery.py"


def test_the_pictures_are_small():
    pictures = [path for path in (ROOT / "docs").rglob("*") if path.suffix in (".png", ".webp", ".svg", ".gif")]
    assert sum(path.stat().st_size for path in pictures) < MEGABYTES * 1e6
