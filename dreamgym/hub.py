"""Dreams on disk: id or folder -> verified files -> model, start bank and card.

A dream is a folder of `config.json`, `weights.safetensors`, `starts.safetensors` and `card.toml`, which holds the
sha256 of every file. Nothing in it can run code: no pickle, no import path.
"""

from __future__ import annotations

import copy
import ctypes
import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import tomli_w
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as to_safetensors

from dreamgym.core.model import WorldModel
from dreamgym.core.policy import Policy, check_policy, save_policy
from dreamgym.core.policy import load_policy as load_policy_file
from dreamgym.core.spaces import space_from_json, space_to_json
from dreamgym.core.starts import StartBank
from dreamgym.core.tree import clone, compact, from_named_leaves, named_leaves, to_device, widen
from dreamgym.errors import CorruptDream, DreamgymError, ForeignDream, InvalidModel, UnknownName
from dreamgym.registry import DREAMS, MODELS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FILES = ("config.json", "weights.safetensors", "starts.safetensors")
POLICY = "policy.safetensors"
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # of Linux's renameat2
PICKLES = (".pt", ".pth", ".pkl", ".pickle", ".bin", ".ckpt", ".joblib", ".npy", ".zip")


@dataclass(frozen=True)
class LoadedDream:
    """A dream in memory."""

    model: WorldModel[Any]
    starts: StartBank[Any]
    card: Mapping[str, Any] = field(default_factory=dict)
    folder: Path | None = None

    @property
    def name(self) -> str:
        """What messages call this dream: its id, or its folder's name."""
        return str(self.card.get("id") or (self.folder.name if self.folder else type(self.model).__name__))

    @property
    def model_sha256(self) -> str:
        """The digest of the weights that make the features; "" for a dream that never was on disk."""
        return str(self.card.get("files", {}).get("weights.safetensors", ""))

    @property
    def ships_policy(self) -> bool:
        """Whether the dream's card names a policy in its folder."""
        return self.folder is not None and POLICY in self.card["files"]

    def to(self, device: torch.device | str) -> LoadedDream:
        """Return the dream on a device; the weights are shared where they lie there already."""
        there = torch.empty(0, device=device).device  # "cuda" names a device that depends on the process
        if self.starts.is_first.device == there or not isinstance(self.model, torch.nn.Module):
            return self
        model = copy.deepcopy(self.model).to(device).eval()
        return LoadedDream(model, self.starts.to(device), self.card, self.folder)


def find_folder(model: str | Path, variant: str | None = None) -> Path:
    """Return the folder that an id or a path names.

    Raises:
        UnknownName: if it is neither a registered dream nor a folder, or the dream has no such variant.
    """
    if str(model) in DREAMS:
        return DREAMS[str(model)].folder(variant)
    if Path(model).is_dir():
        return Path(model)
    raise UnknownName("dream", str(model), DREAMS)


def load(model: str | Path, variant: str | None = None, device: str = "cpu") -> LoadedDream:
    """Return a verified dream; asked again, the same one, so that many envs share its weights.

    Args:
        model: the id of a registered dream, or a folder that `save_dream` wrote.
        variant: which of a registered dream's variants; None is the default one.
        device: where the tensors lie.

    Raises:
        UnknownName: if there is no such dream, variant or model family.
        ForeignDream: if the folder is something else.
        CorruptDream: if a file is missing, truncated or not the one that the card names.
    """
    folder = find_folder(model, variant).resolve()
    card = folder / "card.toml"
    stamp = (card.stat().st_mtime_ns, card.stat().st_ino) if card.is_file() else ()
    return _load(folder, stamp, str(device))


@lru_cache(maxsize=8)
def _load(folder: Path, stamp: tuple[int, ...], device: str) -> LoadedDream:
    if torch.device(device).type != "cpu":
        return _load(folder, stamp, "cpu").to(device)
    card = read_card(folder)
    for name, expected in card["files"].items():
        actual = sha256(folder / name)
        if actual != expected:
            raise CorruptDream(
                f"{folder / name} has sha256 {actual[:12]}..., the card says {expected[:12]}...: "
                "it was truncated or changed; copy or make the dream again."
            )
    model = _build(folder / "config.json")
    try:
        weights = load_file(folder / "weights.safetensors")
        leaves = load_file(folder / "starts.safetensors")
        model.load_state_dict({name: widen(tensor) for name, tensor in weights.items()})
        is_first = leaves.pop("is_first").bool()
        starts = StartBank(from_named_leaves(model.initial(1), leaves), is_first)
        for name, leaf in named_leaves(model.initial(len(is_first))).items():
            if leaves[name].shape != leaf.shape or len(is_first) == 0:
                raise ValueError(f"start states have {name} {tuple(leaves[name].shape)}, not {tuple(leaf.shape)}.")
    except (SafetensorError, RuntimeError, KeyError, ValueError) as error:
        raise CorruptDream(f"{folder} does not hold what its config describes: {error}") from error
    return LoadedDream(model.eval(), starts, card, folder)


def read_card(folder: Path) -> dict[str, Any]:
    """Return the card of a dream folder, without reading the weights.

    Raises:
        FileNotFoundError: if there is no such folder.
        ForeignDream: if there is no card, or the folder holds pickles.
        CorruptDream: if the card cannot be read or a file that it names is missing.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"the dream in {folder} is missing; install its weights, or give another folder.")
    pickled = sorted(p.name for p in folder.iterdir() if p.suffix.lower() in PICKLES)
    if pickled:
        raise ForeignDream(f"{folder} holds {pickled[0]}, which may hold a pickle; dreamgym loads safetensors only.")
    if not (folder / "card.toml").is_file():
        raise ForeignDream(f"{folder} has no card.toml; expected a folder that `dreamgym train` or save_dream wrote.")
    try:
        card = tomllib.loads((folder / "card.toml").read_text())
        files = {str(name): str(digest) for name, digest in card["files"].items()}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, KeyError, AttributeError) as error:
        raise CorruptDream(f"{folder / 'card.toml'} cannot be read: {error}") from error
    for name in {*FILES, *files}:
        if name not in files:
            raise CorruptDream(f"{folder / 'card.toml'} gives no sha256 for {name}; make the dream again.")
        if name in ("", ".", "..") or set(name) & set("/\\"):
            raise CorruptDream(f"{folder / 'card.toml'} names the file {name!r}; expected one in the dream's folder.")
        if not (folder / name).is_file():
            raise CorruptDream(f"{folder} lacks {name}, which its card names; copy or make the dream again.")
    return card


def save_dream(
    folder: str | Path,
    model: WorldModel[Any],
    starts: StartBank[Any],
    card: Mapping[str, Any] | None = None,
    policy: Path | None = None,
    half: bool = True,
) -> Path:
    """Write a dream: every file under a temporary name first, so that a dream is there whole or not at all.

    Args:
        folder: where; an older dream there is replaced, and what else lies there, e.g. checkpoints, stays.
        model: of a registered family.
        starts: where its episodes begin.
        card: what people should know: data, commands, scores. `files` is filled in.
        policy: a policy file to ship with it.
        half: store weights as float16, half the size.

    Returns:
        The folder.

    Raises:
        UnknownName: if the model's family is not registered; register it with `register_model`.
        InvalidModel: if the model has no `config`.
    """
    folder = Path(folder)
    if not isinstance(model, torch.nn.Module) or not hasattr(model, "config"):
        raise InvalidModel(f"{type(model).__name__} cannot be saved; expected an nn.Module with a `config` dataclass.")
    config = {
        "format": "dreamgym.dream.1",
        "family": family_of(model),
        "config": asdict(cast(Any, model.config)),
        "observation_space": space_to_json(model.observation_space),
        "action_space": space_to_json(model.action_space),
    }
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        (temporary / "config.json").write_text(json.dumps(config, indent=2) + "\n")
        weights = {k: compact(v) if half else v for k, v in model.state_dict().items()}
        tensors = {k: v.cpu().contiguous() for k, v in weights.items()}
        (temporary / "weights.safetensors").write_bytes(to_safetensors(tensors))  # save_file hides it
        leaves = named_leaves(clone(to_device(starts.states, "cpu")))  # leaves that share memory are not saved
        (temporary / "starts.safetensors").write_bytes(to_safetensors({**leaves, "is_first": starts.is_first.cpu()}))
        if policy is not None:
            shutil.copyfile(policy, temporary / POLICY)
        write_card(temporary, card or {})
        temporary.chmod(0o755)
        _replace(temporary, folder.resolve())
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def write_card(folder: Path, card: Mapping[str, Any], names: Sequence[str] = (*FILES, POLICY)) -> None:
    """Write `card.toml` with the digests of the dream's files as they are now, at once or not at all."""
    full = {**card, "files": {name: sha256(folder / name) for name in names if (folder / name).is_file()}}
    temporary = folder / "card.toml.tmp"
    temporary.write_text(tomli_w.dumps(full))
    temporary.replace(folder / "card.toml")


def ship_policy(folder: str | Path, policy: Policy) -> Path:
    """Put a policy into a dream's folder, where it is called "shipped", and return its path.

    The card's scores and report, which are an earlier policy's, are dropped.

    Raises:
        PolicyMismatch: if it was made for another dream.
    """
    folder = Path(folder)
    dream = load(folder)
    check_policy(policy, dream.model.action_space, dream.model.feature_dim, dream.model_sha256, dream.name)
    card = {name: value for name, value in dream.card.items() if name not in ("scores", "probes", "report")}
    write_card(folder, card, FILES)  # a process killed from here on leaves a dream without a policy
    save_policy(policy, folder / POLICY)
    write_card(folder, card)
    return folder / POLICY


def load_policy(path: str | Path, dream: LoadedDream) -> Policy:
    """Return a policy for a dream.

    Args:
        path: a policy file, or "shipped" for the one in the dream's folder.
        dream: where it is to act.

    Raises:
        PolicyMismatch: if it was made for another dream.
        FileNotFoundError: if there is none.
    """
    if str(path) == "shipped":
        if dream.folder is None or not dream.ships_policy:
            raise FileNotFoundError(f"{dream.name} ships no policy; train one and give its file.")
        path = dream.folder / POLICY
    policy = load_policy_file(path)
    check_policy(policy, dream.model.action_space, dream.model.feature_dim, dream.model_sha256, dream.name)
    return policy


def list_dreams() -> list[dict[str, Any]]:
    """Return one row for each variant of each registered dream: id, variant, family, size in bytes, card."""
    rows = []
    for entry in DREAMS.values():
        for variant, folder in entry.variants.items():
            row: dict[str, Any] = {"id": entry.id, "variant": variant, "folder": folder, "present": folder.is_dir()}
            if row["present"]:
                row["card"] = read_card(folder)
                row["family"] = json.loads((folder / "config.json").read_text())["family"]
                row["bytes"] = sum(p.stat().st_size for p in folder.iterdir())
            rows.append(row)
    return rows


def family_of(model: WorldModel[Any]) -> str:
    """Return the name under which a model's class is registered.

    Raises:
        UnknownName: if it is not.
    """
    target = f"{type(model).__module__}:{type(model).__qualname__}"
    for name in MODELS:
        if MODELS[name] == target:
            return name
    raise UnknownName("model family", target, (MODELS[name] for name in MODELS))


def build_model(family: str, config: Mapping[str, Any], observation_space: Any, action_space: Any) -> Any:
    """Return a new model of a registered family with untrained weights."""
    cls = MODELS.load(family)
    fields = {k: tuple(v) if isinstance(v, list) else v for k, v in config.items()}
    return cls(cls.config_class(**fields), observation_space, action_space)


def sha256(path: Path) -> str:
    """Return the hexadecimal sha256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _build(path: Path) -> Any:
    try:
        config = json.loads(path.read_text())
        if not isinstance(config, dict) or config.get("format") != "dreamgym.dream.1":
            raise ForeignDream(f"{path} has another format than 'dreamgym.dream.1'; a newer dreamgym may read it.")
        family, fields = config["family"], config["config"]
        spaces = [space_from_json(config[name]) for name in ("observation_space", "action_space")]
    except DreamgymError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CorruptDream(f"{path} cannot be understood: {error}") from error
    try:
        return build_model(family, fields, *spaces)
    except UnknownName:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise CorruptDream(f"{path} does not fit the family {family!r}: {error}") from error


def _replace(temporary: Path, folder: Path) -> None:
    """Put a finished folder in the place of another one, whose other files, e.g. checkpoints, it takes along."""
    if not folder.exists():
        os.replace(temporary, folder)
        return
    for item in folder.iterdir():
        if item.is_dir():
            shutil.copytree(item, temporary / item.name, symlinks=True, copy_function=_link)
        elif item.name not in (*FILES, POLICY, "card.toml"):
            _link(item, temporary / item.name)
    _exchange(temporary, folder)


def _link(source: str | Path, target: str | Path) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:  # not every file system has hard links
        shutil.copy2(source, target, follow_symlinks=False)


def _exchange(a: Path, b: Path) -> None:
    """Let two folders change places: at once on Linux, elsewhere so that a failure leaves them as they were."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
        if rename(_AT_FDCWD, os.fsencode(a), _AT_FDCWD, os.fsencode(b), _RENAME_EXCHANGE) == 0:
            return
    except (AttributeError, OSError, TypeError):
        pass
    aside = a.with_name(f"{a.name}-old")
    os.replace(b, aside)
    try:
        os.replace(a, b)
    except OSError:
        os.replace(aside, b)
        raise
    os.replace(aside, a)
