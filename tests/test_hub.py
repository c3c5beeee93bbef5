"""Dreams on disk: what was saved is loaded, whole or not at all, and anything else is refused by name and reason."""

import json
import os
import pickle
import re
import shutil
import signal
import sys

import numpy as np
import pytest
import torch
from oracle import LEVER, PICTURES64, Counted, CountingConfig, counting_dream, counting_world
from safetensors.torch import load_file, save_file
from torch import nn

from dreamgym import hub
from dreamgym.core.policy import Policy, PolicyConfig, save_policy
from dreamgym.core.starts import StartBank
from dreamgym.core.tree import named_leaves
from dreamgym.errors import CorruptDream, ForeignDream, InvalidModel, PolicyMismatch, UnknownName
from dreamgym.hub import LoadedDream, load, load_policy, save_dream, ship_policy, write_card
from dreamgym.registry import DREAMS, register_dream

CARD = {"id": "Saved", "real": "CartPole-v1", "max_episode_steps": 9, "scores": {"real": {"mean": 1.5}}}


def save(folder, tick=1.0, card=CARD, policy=None, **config):
    """Return the folder of a dream whose clock goes `tick` a step."""
    dream = counting_dream(**config)
    with torch.no_grad():
        dream.model.tick.fill_(tick)
    return save_dream(folder, dream.model, dream.starts, card, policy)


def ticks(folder):
    return load(folder).model.tick.item()


def make_policy(dream=None, **config):
    fields = {"input_dim": 4, "hidden": (3,), "dream": "Saved", **config}
    if dream is not None:
        fields["model_sha256"] = dream.model_sha256
    return Policy(PolicyConfig(**fields), counting_dream().model.action_space)


def test_a_dream_survives_its_round_trip(tmp_path):
    folder = save(tmp_path / "deep" / "dream", tick=0.5, lengths=(2, 9), hazard=0.25, action_space=LEVER)
    dream = load(folder)
    assert dream.model.config == CountingConfig(lengths=(2, 9), hazard=0.25)
    assert dream.model.tick.item() == 0.5
    assert dream.model.tick.dtype == torch.float32
    assert not dream.model.training
    assert dream.model.action_space == LEVER
    assert dream.folder == folder.resolve()
    assert dream.name == "Saved"
    for key, value in CARD.items():
        assert dream.card[key] == value
    before, after = counting_dream().starts, dream.starts
    assert torch.equal(before.is_first, after.is_first)
    for a, b in zip(named_leaves(before.states).values(), named_leaves(after.states).values(), strict=True):
        assert a.dtype == b.dtype
        assert torch.equal(a, b)
    assert sorted(path.name for path in folder.iterdir()) == sorted([*hub.FILES, "card.toml"])
    assert [path.name for path in folder.parent.iterdir()] == ["dream"]


def test_float16_weights_dream_alike_within_their_precision(tmp_path):
    from dreamgym.models.vae_mdn_rnn import Config, State, VaeMdnRnn

    torch.manual_seed(0)
    model = VaeMdnRnn(Config(latent_dim=4, hidden_dim=8, channels=(2, 2, 2, 2)), PICTURES64, LEVER).eval()
    starts = StartBank(State(torch.randn(3, 4), torch.randn(3, 8), torch.randn(3, 8)), torch.ones(3, dtype=torch.bool))
    state, action, noise = starts.sample(torch.rand(5)), torch.randn(5, 1), torch.randn(5, model.noise_dim)
    sizes = []
    for half, tolerance in ((True, 5e-3), (False, 0.0)):
        folder = save_dream(tmp_path / str(half), model, starts, half=half)
        again = load(folder).model
        for a, b in zip(model.parameters(), again.parameters(), strict=True):
            assert torch.allclose(a, b, rtol=1e-3, atol=1e-4 if half else 0)
        with torch.no_grad():
            ours, theirs = model.step(state, action, noise).state.h, again.step(state, action, noise).state.h
        assert (ours - theirs).abs().max() <= tolerance
        sizes.append((folder / "weights.safetensors").stat().st_size)
    assert sizes[0] < 0.6 * sizes[1]


def test_weights_too_large_for_float16_are_kept_as_they_are(tmp_path):
    assert ticks(save(tmp_path / "dream", tick=1e6)) == 1e6


def test_a_loaded_dream_is_one_object_until_it_is_written_anew(tmp_path):
    folder = save(tmp_path / "dream", tick=2.0)
    assert load(folder) is load(str(folder)) is load(folder / ".." / "dream")
    first = load(folder)
    save(folder, tick=3.0)
    assert load(folder) is not first
    assert ticks(folder) == 3.0
    assert first.model.tick.item() == 2.0


def test_only_registered_families_with_a_config_can_be_saved(tmp_path):
    class Stranger(type(counting_world())):
        pass

    dream = counting_dream()
    stranger = Stranger(dream.model.config, dream.model.observation_space, dream.model.action_space)
    with pytest.raises(UnknownName, match=r"unknown model family '.*test_hub:.*Stranger'; available: .*vae_mdn_rnn"):
        save_dream(tmp_path / "dream", stranger, dream.starts)
    with pytest.raises(InvalidModel, match="Linear cannot be saved; expected an nn.Module with a `config` dataclass"):
        save_dream(tmp_path / "dream", nn.Linear(1, 1), dream.starts)
    assert not list(tmp_path.iterdir())


# ---- whole or not at all -------------------------------------------------------------------------------------------


def test_a_failed_save_leaves_the_old_dream_and_nothing_else(tmp_path, monkeypatch):
    folder = save(tmp_path / "dream", tick=2.0)
    for name in ("to_safetensors", "write_card", "_exchange"):
        with monkeypatch.context() as patch:

            def fail(*args, **kwargs):
                raise OSError("no space left on device")

            patch.setattr(hub, name, fail)
            with pytest.raises(OSError, match="no space left"):
                save(folder, tick=3.0)
        assert ticks(folder) == 2.0
        assert [path.name for path in tmp_path.iterdir()] == ["dream"]
    with pytest.raises(TypeError):
        save(folder, tick=3.0, card={"note": object()})
    assert ticks(folder) == 2.0
    assert [path.name for path in tmp_path.iterdir()] == ["dream"]


def test_a_failed_first_save_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(hub, "write_card", lambda *args: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        save(tmp_path / "dream")
    assert not list(tmp_path.iterdir())


def test_without_an_atomic_exchange_the_old_dream_still_comes_back_after_a_failure(tmp_path, monkeypatch):
    folder = save(tmp_path / "dream", tick=2.0)
    monkeypatch.setattr(hub.ctypes, "CDLL", lambda *args, **kwargs: object())  # a system without renameat2
    save(folder, tick=3.0)
    assert ticks(folder) == 3.0
    assert [path.name for path in tmp_path.iterdir()] == ["dream"]
    replace = os.replace

    def refuse_the_new_one(a, b):
        if b == folder and not a.name.endswith("-old"):
            raise OSError("busy")
        replace(a, b)

    monkeypatch.setattr(os, "replace", refuse_the_new_one)
    with pytest.raises(OSError, match="busy"):
        save(folder, tick=4.0)
    assert ticks(folder) == 3.0
    assert [path.name for path in tmp_path.iterdir()] == ["dream"]


def test_what_else_lies_in_the_folder_stays_there(tmp_path):
    folder = save(tmp_path / "dream")
    (folder / "checkpoints" / "vae-10").mkdir(parents=True)
    (folder / "checkpoints" / "vae-10" / "state.json").write_text("10")
    (folder / "log.csv").write_text("step,loss")
    with (folder / "log.csv").open("a") as log:
        save(folder, tick=5.0)
        log.write("\n1,2")
    assert ticks(folder) == 5.0
    assert (folder / "checkpoints" / "vae-10" / "state.json").read_text() == "10"
    assert (folder / "log.csv").read_text() == "step,loss\n1,2"


def killed_at(event_number, act):
    """Run `act` in a child that kills itself at one of its file operations; return whether it was killed."""
    child = os.fork()
    if child == 0:
        seen = [0]

        def hook(event, args):
            if event.split(".")[0] in ("open", "os", "shutil", "ctypes"):
                seen[0] += 1
                if seen[0] == event_number + 1:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        act()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only there is a folder exchanged at once")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_save_killed_at_any_file_operation_leaves_the_old_dream_or_the_new_one(tmp_path):
    folder = save(tmp_path / "dream", tick=2.0)
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "1").write_text("kept")
    found, event = set(), 0
    while killed_at(event, lambda: save(folder, tick=3.0)):
        found.add(ticks(folder))
        assert (folder / "checkpoints" / "1").read_text() == "kept"
        event += 1
    assert event > 10
    assert ticks(folder) == 3.0
    assert found == {2.0, 3.0}


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_shipping_a_policy_killed_at_any_file_operation_leaves_a_dream_that_loads(tmp_path):
    folder = save(tmp_path / "dream")
    ship_policy(folder, make_policy())
    policy, event, kinds = make_policy(hidden=(9,)), 0, set()
    dream = load(folder)
    while killed_at(event, lambda: ship_policy(folder, policy)):
        dream = load(folder)
        try:
            kinds.add(load_policy("shipped", dream).config.hidden)
        except FileNotFoundError:
            kinds.add(None)
        event += 1
    assert event > 3
    assert load_policy("shipped", load(folder)).config.hidden == (9,)
    assert kinds >= {(3,), None}


# ---- refused by name and reason ------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    return save(tmp_path / "dream")


def seal(folder):
    """Write the card anew, as somebody would who made the folder by hand."""
    card = {key: value for key, value in load_card(folder).items() if key != "files"}
    write_card(folder, card)


def load_card(folder):
    return hub.tomllib.loads((folder / "card.toml").read_text())


@pytest.mark.parametrize("name", hub.FILES)
def test_a_truncated_file_is_refused(folder, name):
    (folder / name).write_bytes((folder / name).read_bytes()[:-1])
    with pytest.raises(
        CorruptDream, match=rf"{re.escape(str(folder / name))} has sha256 .*the card says .*truncated or"
    ):
        load(folder)


@pytest.mark.parametrize("name", hub.FILES)
def test_one_changed_byte_is_refused(folder, name):
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(CorruptDream, match=f"{name} has sha256"):
        load(folder)


@pytest.mark.parametrize("name", hub.FILES)
def test_a_missing_file_is_refused(folder, name):
    (folder / name).unlink()
    with pytest.raises(CorruptDream, match=f"lacks {name}, which its card names; copy or make the dream again"):
        load(folder)


@pytest.mark.parametrize("name", hub.FILES)
def test_a_truncated_file_with_a_fitting_card_is_refused_too(folder, name):
    (folder / name).write_bytes((folder / name).read_bytes()[:50])
    seal(folder)
    with pytest.raises(CorruptDream, match=re.escape(str(folder))):
        load(folder)


def test_a_folder_of_something_else_is_foreign(tmp_path):
    (tmp_path / "README.md").write_text("hello")
    with pytest.raises(ForeignDream, match=r"has no card.toml; expected a folder that `dreamgym train` or save_dream"):
        load(tmp_path)


@pytest.mark.parametrize("name", ["weights.pt", "model.PKL", "data.pickle", "sb3.zip", "pytorch_model.bin", "x.npy"])
def test_a_folder_with_a_pickle_is_foreign_and_the_pickle_stays_unread(folder, name):
    class Bomb:
        def __reduce__(self):
            return pytest.fail, ("a pickle was loaded",)

    (folder / name).write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ForeignDream, match=f"holds {name}, which may hold a pickle; dreamgym loads safetensors only"):
        load(folder)


def test_what_is_neither_an_id_nor_a_folder_is_unknown(tmp_path, folder):
    for name in ("DreamNothing-v0", str(tmp_path / "nowhere"), str(folder / "card.toml")):
        with pytest.raises(UnknownName, match=re.escape(f"unknown dream {name!r}; available: ")):
            load(name)


@pytest.mark.parametrize("text", ["files = 3", "[files", "id = 'x'", "\xff", "[files]\n'config.json' = 3"])
def test_a_card_that_cannot_be_read_is_corrupt(folder, text):
    (folder / "card.toml").write_bytes(text.encode("latin-1"))
    with pytest.raises(CorruptDream, match=re.escape(str(folder / "card.toml"))):
        load(folder)


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "..", "sub/x.json", "a\\b"])
def test_a_card_that_names_files_elsewhere_is_refused_by_the_name(folder, name):
    card = load_card(folder)
    card["files"][name] = "0" * 64
    (folder / "card.toml").write_text(hub.tomli_w.dumps(card))
    with pytest.raises(CorruptDream, match=re.escape(f"names the file {name!r}; expected one in the dream's folder")):
        load(folder)


def test_a_card_without_a_digest_is_refused_by_the_file(folder):
    card = load_card(folder)
    del card["files"]["weights.safetensors"]
    (folder / "card.toml").write_text(hub.tomli_w.dumps(card))
    with pytest.raises(CorruptDream, match="gives no sha256 for weights.safetensors; make the dream again"):
        load(folder)


def edit_config(folder, **changes):
    config = json.loads((folder / "config.json").read_text())
    config.update(changes)
    (folder / "config.json").write_text(json.dumps({k: v for k, v in config.items() if v is not None}))
    seal(folder)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"format": "dreamgym.dream.9"}, ForeignDream, "has another format than 'dreamgym.dream.1'; a newer dreamgym"),
        ({"format": None}, ForeignDream, "has another format than 'dreamgym.dream.1'"),
        ({"family": "dreamer_v9"}, UnknownName, "unknown world model 'dreamer_v9'; available: "),
        ({"family": "os:system"}, UnknownName, "unknown world model 'os:system'; available: "),
        ({"family": None}, CorruptDream, "config.json cannot be understood: 'family'"),
        ({"family": ["counting"]}, CorruptDream, "config.json does not fit the family"),
        ({"config": {"colour": 3}}, CorruptDream, "config.json does not fit the family 'counting': .*colour"),
        ({"config": 3}, CorruptDream, "config.json does not fit the family 'counting'"),
        ({"config": {"lengths": ["a"]}}, CorruptDream, "config.json does not fit the family 'counting'"),
        ({"observation_space": None}, CorruptDream, "config.json cannot be understood: 'observation_space'"),
        ({"action_space": {"type": "Box"}}, CorruptDream, "config.json cannot be understood: 'dtype'"),
        ({"action_space": {"type": "Text"}}, ForeignDream, "a space of type 'Text' is described"),
        ({"action_space": 5}, CorruptDream, "config.json cannot be understood"),
    ],
)
def test_a_config_that_does_not_fit_is_refused_by_what_it_says(folder, changes, error, message):
    edit_config(folder, **changes)
    with pytest.raises(error, match=message):
        load(folder)


def test_a_config_that_is_no_json_is_corrupt(folder):
    for text in ("{", "[]", ""):
        (folder / "config.json").write_text(text)
        seal(folder)
        with pytest.raises((CorruptDream, ForeignDream), match="config.json"):
            load(folder)


@pytest.mark.parametrize(
    ("name", "edit"),
    [
        ("weights.safetensors", lambda leaves: leaves.pop("tick")),
        ("weights.safetensors", lambda leaves: leaves.update(extra=torch.zeros(1))),
        ("weights.safetensors", lambda leaves: leaves.update(tick=torch.zeros(2))),
        ("starts.safetensors", lambda leaves: leaves.pop("is_first")),
        ("starts.safetensors", lambda leaves: leaves.pop("walk")),
        ("starts.safetensors", lambda leaves: leaves.update(walk=torch.zeros(8, 2))),
        ("starts.safetensors", lambda leaves: leaves.update(walk=torch.zeros(7))),
        ("starts.safetensors", lambda leaves: leaves.update({k: v[:0] for k, v in leaves.items()})),
    ],
)
def test_tensors_that_are_not_the_models_are_refused(folder, name, edit):
    leaves = load_file(folder / name)
    edit(leaves)
    save_file(leaves, folder / name)
    seal(folder)
    with pytest.raises(CorruptDream, match=f"{re.escape(str(folder))} does not hold what its config describes: "):
        load(folder)


# ---- policies ------------------------------------------------------------------------------------------------------


def test_a_shipped_policy_travels_with_its_dream(tmp_path, folder):
    policy = make_policy(load(folder))
    path = save_policy(policy, tmp_path / "policy.safetensors")
    dream = load(save(tmp_path / "with", policy=path))
    features = torch.randn(5, 4)
    assert torch.equal(load_policy("shipped", dream).act(features), policy.act(features))
    assert torch.equal(load_policy(path, dream).act(features), policy.act(features))


def test_shipping_a_policy_drops_the_scores_of_an_earlier_one(folder):
    assert ship_policy(folder, make_policy(load(folder))) == folder / "policy.safetensors"
    dream = load(folder)
    assert "scores" not in dream.card
    assert load_policy("shipped", dream).config.hidden == (3,)


def test_a_dream_without_a_policy_says_so(folder):
    for dream in (load(folder), counting_dream()):
        with pytest.raises(FileNotFoundError, match=f"{dream.name} ships no policy; train one and give its file"):
            load_policy("shipped", dream)


def test_a_policy_that_the_card_does_not_name_is_not_shipped(folder):
    save_policy(make_policy(), folder / "policy.safetensors")
    with pytest.raises(FileNotFoundError, match="Saved ships no policy"):
        load_policy("shipped", load(folder))


def test_a_changed_policy_is_refused_with_its_dream(folder):
    ship_policy(folder, make_policy())
    save_policy(make_policy(hidden=(5,)), folder / "policy.safetensors")
    with pytest.raises(CorruptDream, match=r"policy.safetensors has sha256"):
        load(folder)


def test_a_policy_of_other_weights_is_refused(tmp_path, folder):
    path = save_policy(make_policy(load(folder)), tmp_path / "p.safetensors")
    load_policy(path, load(folder))
    other = load(save(tmp_path / "other", tick=9.0))
    expected = (
        f"trained in Saved with weights {load(folder).model_sha256[:12]}; Saved has weights {other.model_sha256[:12]}"
    )
    with pytest.raises(PolicyMismatch, match=expected):
        load_policy(path, other)
    with pytest.raises(PolicyMismatch, match="trained in Saved with weights"):
        ship_policy(other.folder, make_policy(load(folder)))


# ---- registered dreams, devices ------------------------------------------------------------------------------------


@pytest.fixture
def registered(folder, tmp_path):
    import gymnasium as gym

    other = save(tmp_path / "second", tick=7.0)
    variants = {"first": folder, "second": other, "gone": tmp_path / "gone"}
    register_dream("DreamSaved-v0", variants=variants, real="CartPole-v1", max_episode_steps=5)
    yield "DreamSaved-v0"
    del DREAMS["DreamSaved-v0"], gym.registry["DreamSaved-v0"]


def test_a_registered_dream_is_loaded_by_id_and_variant(registered):
    assert load(registered).model.tick.item() == 1.0
    assert load(registered, "second").model.tick.item() == 7.0
    with pytest.raises(
        UnknownName, match="unknown variant of DreamSaved-v0 'secnd'; available: .*Did you mean 'second'"
    ):
        load(registered, "secnd")
    with pytest.raises(FileNotFoundError, match="gone is missing"):
        load(registered, "gone")


def test_dreams_are_listed_with_what_is_there(registered):
    rows = {row["variant"]: row for row in hub.list_dreams() if row["id"] == registered}
    assert [rows[name]["present"] for name in ("first", "second", "gone")] == [True, True, False]
    assert rows["second"]["family"] == "counting"
    assert rows["second"]["card"]["id"] == "Saved"
    assert rows["second"]["bytes"] == sum(path.stat().st_size for path in rows["second"]["folder"].iterdir())


def test_a_dream_that_is_moved_leaves_the_original_where_it_was(folder):
    for dream in (load(folder), counting_dream()):
        moved = dream.to("meta")
        assert moved.model.tick.device.type == moved.starts.states.t.device.type == "meta"
        assert dream.model.tick.device.type == dream.starts.states.t.device.type == "cpu"
        assert dream.to("cpu") is dream
        assert moved.to("meta") is moved


def test_the_name_of_a_dream_is_its_id_its_folder_or_its_class(tmp_path):
    assert load(save(tmp_path / "night", card={})).name == "night"
    assert LoadedDream(counting_world(), counting_dream().starts).name == "CountingWorld"
    assert load(save(tmp_path / "day")).name == "Saved"


def test_a_bank_whose_leaves_share_memory_is_saved(tmp_path):
    zeros = torch.zeros(3)
    bank = StartBank(Counted(zeros, zeros, zeros, zeros), torch.ones(3, dtype=torch.bool))
    assert len(load(save_dream(tmp_path / "dream", counting_world(), bank)).starts) == 3


def test_a_copied_folder_is_the_same_dream(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "copy")
    copy = load(tmp_path / "copy")
    assert copy.model_sha256 == load(folder).model_sha256
    assert np.isclose(copy.model.tick.item(), 1.0)
