"""However dreamgym is installed, the same packages and the same weights are there."""

import ast
import configparser
import fnmatch
import importlib
import os
import re
import shutil
import site
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import dreamgym
from dreamgym import doctor
from dreamgym.errors import MissingExtra
from dreamgym.registry import BRIDGES, MODELS, PLANNERS, WRAPPERS

ROOT = Path(__file__).parents[1]
CONFIG = configparser.ConfigParser()
CONFIG.read(ROOT / "setup.cfg")
MAPPED = {"wrappers": "dreamgym.wrappers", "pretrained": "dreamgym.pretrained"}
ALONE = {"rllib", "tianshou"}
"""Extras whose own pins contradict `constraints.txt`; noxfile.py installs each by itself."""
NOT_SOURCE = shutil.ignore_patterns(
    ".git", "runs", ".venv", ".nox", "build", "dist", "*.egg-info", "__pycache__", ".*_cache"
)

PROBE = """
import sys
from importlib.resources import files
import dreamgym, dreamgym.wrappers, dreamgym.pretrained, dreamgym.core, dreamgym.doctor
assert "torch" not in sys.modules, "import dreamgym imports torch"
print(dreamgym.__file__)
print(sorted(str(p.relative_to(root)) for root in [files("dreamgym.pretrained")] for p in root.rglob("*.*")
             if p.suffix in (".toml", ".json", ".safetensors")))
"""


def setup_list(section, option):
    return CONFIG[section][option].split()


def requirements(text):
    """Return the requirements in a value of setup.cfg: one a line, or all in one line between semicolons."""
    return [Requirement(part) for part in (text.strip().splitlines() if "\n" in text else text.split(";"))]


def weights(root=ROOT):
    suffixes = {".toml", ".json", ".safetensors"}
    files = (path for path in (root / "pretrained").rglob("*") if path.suffix in suffixes)
    return sorted(str(path.relative_to(root / "pretrained")) for path in files)


def probe(*options, python=sys.executable, cwd, path=()):
    """Return where an interpreter finds dreamgym, and the data files that it finds in it."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path)), "PYTHONDONTWRITEBYTECODE": "1"}
    run = subprocess.run([python, *options, "-c", PROBE], cwd=cwd, env=env, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    where, found = run.stdout.splitlines()[-2:]
    return Path(where), ast.literal_eval(found)


def probe_folder(folder, cwd):
    """Return what `probe` finds in a folder, with the hooks of an editable install (-S) out of the way."""
    return probe("-S", cwd=cwd, path=[folder, *site.getsitepackages()])


# --- what every run checks ------------------------------------------------------------------------------------------


def test_setup_cfg_lists_every_package_of_the_tree():
    folders = {path.parent.relative_to(ROOT) for path in (ROOT / "dreamgym").rglob("__init__.py")}
    expected = {".".join(folder.parts) for folder in folders} | set(MAPPED.values())
    assert set(setup_list("options", "packages")) == expected


def test_every_folder_with_code_is_a_package():
    for folder in ("dreamgym", *MAPPED):
        for path in (ROOT / folder).rglob("*.py"):
            assert (path.parent / "__init__.py").is_file(), f"{path.parent} has no __init__.py"


def test_the_mapped_folders_are_the_packages_that_users_import():
    assert importlib.import_module("dreamgym.wrappers").__file__ == str(ROOT / "wrappers" / "__init__.py")
    assert importlib.import_module("dreamgym.pretrained").__file__ == str(ROOT / "pretrained" / "__init__.py")


def test_every_bundled_file_is_package_data():
    patterns = CONFIG["options.package_data"]["dreamgym.pretrained"].split(", ")
    files = [path.relative_to(ROOT / "pretrained") for path in (ROOT / "pretrained").rglob("*") if path.is_file()]
    data = [str(path) for path in files if path.suffix not in (".py", ".pyc")]
    left_out = [name for name in data if not any(fnmatch.fnmatch(name, pattern) for pattern in patterns)]
    assert left_out == []


def test_a_bare_clone_imports(tmp_path):
    where, found = probe_folder(ROOT, cwd=tmp_path)
    assert where == ROOT / "dreamgym" / "__init__.py"
    assert found == weights()


def test_import_leaves_torch_to_the_first_use():
    code = "import sys, dreamgym; assert 'torch' not in sys.modules; dreamgym.WorldModel; assert 'torch' in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_a_second_import_warns_of_nothing():
    code = (
        "import importlib, sys, dreamgym; importlib.reload(dreamgym);"
        "[sys.modules.pop(m) for m in list(sys.modules) if m.split('.')[0] == 'dreamgym']; import dreamgym"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, cwd=ROOT)


@pytest.mark.parametrize("name", dreamgym.__all__)
def test_a_public_name_exists_and_is_listed(name):
    assert callable(getattr(dreamgym, name))
    assert name in dir(dreamgym)


def test_an_unknown_attribute_is_named():
    with pytest.raises(AttributeError, match="module 'dreamgym' has no attribute 'drem'"):
        dreamgym.drem  # noqa: B018


def test_type_checkers_see_what_users_import():
    tree = ast.parse((ROOT / "dreamgym" / "__init__.py").read_text())
    (block,) = (
        node for node in tree.body if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
    )
    seen = {alias.name: node.module for node in block.body for alias in node.names}
    assert seen == dreamgym._LAZY
    eager = {"register_bridge", "register_dream", "register_model", "register_planner", "register_wrapper"}
    assert set(dreamgym.__all__) == set(seen) | eager


@pytest.mark.parametrize("registry", [MODELS, WRAPPERS, BRIDGES, PLANNERS], ids=lambda registry: registry.kind)
def test_every_registered_name_loads(registry):
    for name in registry:
        try:
            assert callable(registry.load(name))
        except MissingExtra as error:
            (extra,) = re.findall(r'pip install "dreamgym\[(.+)\]"', str(error))
            assert extra.replace("-", "_") == name
            assert extra in CONFIG["options.extras_require"]


def test_the_doctor_asks_for_what_setup_cfg_requires():
    names = {need.name for need in requirements(CONFIG["options"]["install_requires"]) if need.marker is None}
    assert {*doctor.REQUIRED, "pygame-ce"} == names


@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12", "3.13"])
def test_constraints_pin_each_requirement_once(python):
    def applies(need):
        return need.marker is None or need.marker.evaluate({"python_version": python, "extra": ""})

    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    names = [pin.name for pin in pins if applies(pin)]
    extras = {name: text for name, text in CONFIG["options.extras_require"].items() if name not in ALONE}
    texts = [CONFIG["options"]["install_requires"], *extras.values()]
    needed = {need.name for text in texts for need in requirements(text) if applies(need)} - {"dreamgym"}
    assert sorted(names) == sorted(set(names))
    assert needed <= set(names)


# --- what is built: slow --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def source_tree(tmp_path_factory):
    """Return a copy of the repository with one more dream, for builds to write into."""
    tree = tmp_path_factory.mktemp("clone") / "dreamgym"
    shutil.copytree(ROOT, tree, ignore=NOT_SOURCE)
    dream = tree / "pretrained" / "another" / "variant"
    dream.mkdir(parents=True)
    for name in ("card.toml", "config.json", "weights.safetensors"):
        (dream / name).touch()
    return tree


def build(kind, tree, out):
    """Return the wheel or the sdist of a source tree, made without the network."""
    code = f"import sys; from setuptools import build_meta; build_meta.build_{kind}(sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, str(out)], cwd=tree, check=True, capture_output=True)
    (archive,) = out.iterdir()
    return archive


def unpack_and_probe(wheel, folder):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    where, found = probe_folder(folder, cwd=folder.parent)
    assert where == folder / "dreamgym" / "__init__.py"
    return found


@pytest.mark.slow
def test_the_wheel_holds_every_package_and_the_weights(source_tree, tmp_path):
    wheel = build("wheel", source_tree, (tmp_path / "dist").resolve())
    assert unpack_and_probe(wheel, tmp_path / "site") == weights(source_tree)
    assert (tmp_path / "site" / "dreamgym" / "py.typed").is_file()
    for package in setup_list("options", "packages"):
        assert (tmp_path / "site" / Path(*package.split(".")) / "__init__.py").is_file()


@pytest.mark.slow
def test_the_sdist_builds_the_same_wheel_and_carries_the_tests(source_tree, tmp_path):
    sdist = build("sdist", source_tree, (tmp_path / "dist").resolve())
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    (tree,) = (tmp_path / "unpacked").iterdir()
    assert {"tests", "examples", "LICENSE", "constraints.txt"} <= {path.name for path in tree.iterdir()}
    wheel = build("wheel", tree, (tmp_path / "wheel").resolve())
    assert unpack_and_probe(wheel, tmp_path / "site") == weights(source_tree)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["lenient", "strict", "compat"])
def test_an_editable_install_imports(mode, source_tree, tmp_path):
    tree = tmp_path / "clone"
    shutil.copytree(source_tree, tree)
    venv.create(tmp_path / "venv", with_pip=False, symlinks=os.name != "nt")
    python = tmp_path / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    paths = subprocess.check_output([python, "-c", "import site; print(site.getsitepackages()[0])"], text=True)
    # gymnasium and setuptools come from the environment of the tests
    Path(paths.strip(), "tests.pth").write_text("\n".join(site.getsitepackages()))
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-build-isolation", "-q"]
    subprocess.run([*pip, "--config-settings", f"editable_mode={mode}", "-e", str(tree)], check=True, cwd=tmp_path)
    where, found = probe(python=python, cwd=tmp_path)
    assert where.is_relative_to(tree)
    assert found == weights(tree)
