"""The examples in docstrings run, and print what they say."""

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = [file for folder in ("dreamgym", "pretrained", "wrappers") for file in (ROOT / folder).rglob("*.py")]
MODULES = {
    ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for file in FILES
    if ">>> " in file.read_text()
}


@pytest.mark.parametrize("name", sorted(MODULES))
def test_examples_of(name):
    module = importlib.import_module(name if name.startswith("dreamgym") else f"dreamgym.{name}")
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    results = doctest.testmod(module, optionflags=options)
    assert results.attempted > 0
    assert results.failed == 0
