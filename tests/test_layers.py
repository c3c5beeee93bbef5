"""Who may import whom, read from the syntax tree of every file.

Imports inside functions and those for type checkers count too; `module:attribute` strings, which the registry loads by
name, do not: that is how a layer reaches what it must not know.
"""

import ast
import sys
from pathlib import Path

import pytest

import dreamgym
from dreamgym.registry import MODELS, PLANNERS, WRAPPERS

ROOT = Path(__file__).parents[1]
FILES = sorted(file for folder in ("dreamgym", "pretrained", "wrappers") for file in (ROOT / folder).rglob("*.py"))

MAY_IMPORT = {  # layer -> the layers below it; each may also import itself and errors
    "errors": set(),
    "registry": set(),
    "core": set(),
    "models": {"core"},
    "wrappers": {"core"},
    "planners": {"core"},
    "agents": {"core"},
    "data": {"core", "registry"},  # scripted drivers by name, as strings
    "real": {"core"},
    "hub": {"core", "registry"},
    "training": {"core", "data"},
    "envs": {"core", "hub", "registry"},
    "evaluation": {"core", "data", "envs", "hub", "real"},
    "testing": {"core", "envs", "hub", "registry"},
    "bridges": {"core", "data", "envs", "real"},
    "online": {"agents", "core", "data", "evaluation", "hub", "registry", "training", "wrappers"},
    "pretrained": {"registry"},
}
# may import anything
TOP = {"__init__", "__main__", "bench", "cli", "demo", "doctor", "improve", "publish", "report", "viewer"}
NO_TORCH = {"errors", "registry", "pretrained"}  # stdlib and gymnasium only: `import dreamgym` loads them


def layer_of(module: str) -> str:
    """Return the layer of `dreamgym.data.episodes`: `data`."""
    return module.split(".")[1] if "." in module else "__init__"


def module_of(file: Path) -> str:
    """Return the dotted name that a file of the source tree is imported by."""
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts if parts[0] == "dreamgym" else ("dreamgym", *parts))


def imports_of(source: str) -> set[str]:
    """Return the modules that a source text imports, anywhere in it."""
    modules = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "dreamgym":
            modules |= {dreamgym._LAZY.get(alias.name, f"dreamgym.{alias.name}") for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules.add(node.module or ".")
    return modules


def forbidden(source: str, layer: str) -> set[str]:
    """Return the imports of a source text that its layer is too low for."""
    allowed = {layer, "errors"} | MAY_IMPORT[layer]
    bad = {name for name in imports_of(source) if name.split(".")[0] == "dreamgym" and layer_of(name) not in allowed}
    if layer in NO_TORCH:
        light = {*sys.stdlib_module_names, "dreamgym", "gymnasium", "tomli"}
        bad |= {name for name in imports_of(source) if name.split(".")[0] not in light}
    return bad


@pytest.mark.parametrize("file", FILES, ids=module_of)
def test_a_file_imports_only_what_its_layer_may(file):
    layer = layer_of(module_of(file))
    if layer not in TOP:
        assert layer in MAY_IMPORT, f"give {layer} a row in MAY_IMPORT and in the design"
        assert forbidden(file.read_text(), layer) == set()


@pytest.mark.parametrize("registry", [MODELS, PLANNERS, WRAPPERS], ids=lambda registry: registry.kind)
def test_registered_siblings_never_import_each_other(registry):
    targets = {target.partition(":")[0] for target in registry.values() if target.startswith("dreamgym.")}
    for file in FILES:
        if module_of(file) in targets:
            assert imports_of(file.read_text()) & (targets - {module_of(file)}) == set()


@pytest.mark.parametrize(
    ("layer", "source"),
    [
        ("core", "import dreamgym.data.episodes"),
        ("core", "from dreamgym import load"),
        ("models", "def late():\n    from dreamgym.real.dodge import DodgeEnv"),
        ("wrappers", "if TYPE_CHECKING:\n    from dreamgym.models import layers"),
        ("envs", "from dreamgym.models.vae_mdn_rnn import VaeMdnRnn"),
        ("training", "from dreamgym import hub"),
        ("registry", "import torch"),
        ("pretrained", "from numpy import zeros"),
    ],
)
def test_an_import_from_above_is_found(layer, source):
    assert forbidden(source, layer)
