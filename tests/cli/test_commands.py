"""The command line: what each command prints, and the one line that it prints when something is wrong."""

import json
import math
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from inspect import signature
from pathlib import Path
from unittest.mock import Mock

import gymnasium as gym
import pytest
import torch
from tiny import save_tiny_dream, save_tiny_policy

from dreamgym.cli import commands as cli
from dreamgym.cli.overview import GROUPS
from dreamgym.core.kept import Kept
from dreamgym.core.policy import load_policy
from dreamgym.hub import load
from dreamgym.models.rssm_sizes import dreamer_v2
from dreamgym.registry import DREAMS, register_dream

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny_dream(tmp_path_factory.mktemp("dreams") / "tiny")


@pytest.fixture(scope="module")
def policy(folder):
    return save_tiny_policy(folder.parent / "policy.safetensors", folder)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    out = tmp_path_factory.mktemp("data") / "dodge"
    with pytest.raises(SystemExit):
        cli.main(["collect", "Dodge-v0", "--out", str(out), "--episodes", "6", "--driver", "random"])
    return out


@pytest.fixture(scope="module")
def registered(folder):
    scores = {"real": {"mean": 31.5, "std": 2.25, "episodes": 20}}
    scored = save_tiny_dream(folder.parent / "scored", scores=scores)
    variants = {"tiny": scored, "huge": folder.parent / "absent"}
    register_dream("DreamToy-v0", variants=variants, real="dreamgym.real.dodge:make", max_episode_steps=40)
    yield "DreamToy-v0"
    del DREAMS["DreamToy-v0"], gym.registry["DreamToy-v0"]


@pytest.fixture
def run(capsys):
    """Run a command line in this process and return its exit status, output and errors."""

    def run(*arguments):
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit_:
            cli.main([str(argument) for argument in arguments])
        return exit_.value.code, *capsys.readouterr()

    return run


def small(data, out):
    """Return the arguments of a training that takes a second."""
    sizes = ["--model.latent-dim", "4", "--model.hidden-dim", "8", "--model.channels", "4", "4", "8", "8"]
    steps = ["--vae.steps", "4", "--mdn-rnn.steps", "4", "--mdn-rnn.sequence-length", "8", "--log-every", "2"]
    return ["train", "--data", str(data), "--out", str(out), "--starts", "12", "--no-tensorboard", *sizes, *steps]


def test_help_lists_every_command_with_what_it_does(run):
    status, out, _ = run("--help")
    assert status == 0
    for name, function in cli.COMMANDS.items():
        assert f"  {name} " in out
        assert function.__doc__.splitlines()[0] in out


def test_without_a_command_ten_lines_say_what_can_be_done(run):
    status, out, _ = run()
    assert status == 0
    assert len(out.splitlines()) == 10
    assert max(map(len, out.splitlines()[2:])) < 100
    assert sorted(" ".join(commands for commands, _ in GROUPS.values()).split()) == sorted(cli.COMMANDS)


def test_a_shell_completes_commands_options_and_dreams(run, tmp_path):
    status, script, _ = run("completion", "bash")
    assert status == 0
    (tmp_path / "script").write_text(script)

    def complete(*words):
        typed = f"COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}"
        ask = f"source ./script; {typed}; _dreamgym; echo ${{COMPREPLY[@]}}"
        done = subprocess.run(["bash", "-c", ask], cwd=tmp_path, capture_output=True, text=True, check=True)
        assert not done.stderr
        return done.stdout.split()

    assert complete("dreamgym", "train") == ["train", "train-policy"]
    assert complete("dreamgym", "train-policy", "--ppo.g") == ["--ppo.gamma", "--ppo.gae-lambda"]
    assert complete("dreamgym", "eval", "--epi") == ["--episodes"]
    assert complete("dreamgym", "eval", "DreamC") == ["DreamCarRacing-v0", "DreamCartPole-v0"]
    assert run("completion", "zsh")[1].endswith(f"\nautoload -U +X bashcompinit && bashcompinit\n{script}")
    fish = run("completion", "fish")[1].splitlines()
    assert "complete -c dreamgym -n '__fish_seen_subcommand_from eval' -l episodes" in fish
    assert "complete -c dreamgym -n __fish_use_subcommand -f -a doctor -d 'Report versions" in {
        line[:78] for line in fish
    }


@pytest.mark.parametrize(
    ("shell", "ask", "expected"),
    [
        ("zsh", ["-f", "-c", "source ./script; echo $_comps[dreamgym]"], "_bash_complete -o default -F _dreamgym"),
        ("fish", ["-c", "source ./script; complete -C 'dreamgym eval DreamC'"], "DreamCarRacing-v0\nDreamCartPole-v0"),
    ],
)
def test_a_shell_that_was_never_set_up_takes_its_script(run, tmp_path, shell, ask, expected):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    (tmp_path / "script").write_text(run("completion", shell)[1])
    home = {**os.environ, "HOME": str(tmp_path), "ZDOTDIR": str(tmp_path)}
    done = subprocess.run([shell, *ask], cwd=tmp_path, env=home, capture_output=True, text=True)
    assert done.stdout.strip() == expected
    assert not done.stderr


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("list", ["--json"]),
        ("collect", ["ENV", "--out", "--episodes", "--steps", "--driver", "--policy", "--noise", "--workers"]),
        ("train", ["--data", "--out", "--model", "--preset", "--from", "--only", "--no-resume",
                   "--model.latent-dim", "--vae.steps", "--mdn-rnn.learning-rate", "--device", "--checkpoint-every"]),
        ("train-policy", ["ID", "--out", "--algo {ppo,dreamer,cma}", "--decisions", "--ppo.gamma", "--cma.population"]),
        ("eval", ["ID", "--policy", "--side {both,real,dream}", "--episodes", "--seed", "--variant", "--workers"]),
        ("improve", ["ID", "--data", "--out", "--rounds", "--only", "--wrap", "--train.device"]),
        ("demo", ["--dream", "--out", "--minutes", "--episodes", "--workers", "--json"]),
        ("doctor", ["--json"]),
    ],
)  # fmt: skip
def test_help_of_a_command_names_its_options(run, command, options):
    status, out, _ = run(command, "--help")
    assert status == 0
    assert f"usage: dreamgym {command} [-h]" in out
    assert [option for option in options if option not in out] == []


@pytest.mark.parametrize(
    "function", [cli.list_, cli.collect, cli.eval_, cli.demo, cli.doctor, cli.report, cli.completion]
)
def test_every_option_is_explained(function):
    assert [name for name in signature(function).parameters if f"\n        {name}: " not in function.__doc__] == []


def test_listing_and_helping_import_no_torch():
    code = """
import sys
from dreamgym.cli import commands as cli
for arguments in (["--help"], ["list"], ["list", "--json"], ["eval", "--help"], ["collect", "--help"]):
    try:
        cli.run(arguments)
    except SystemExit as exit:
        assert not exit.code
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, capture_output=True)


def test_the_module_is_the_command():
    done = subprocess.run([sys.executable, "-m", "dreamgym", "evall"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: unknown command 'evall'; available: ")
    assert done.stderr.endswith("Did you mean 'eval'?\n")


def test_the_version_is_printed(run):
    import dreamgym

    assert run("--version") == (0, f"{dreamgym.__version__}\n", "")


def test_list_shows_dreams_with_their_size_and_score(run, registered):
    status, out, _ = run("list", "--json")
    found = json.loads(out)
    rows = {row["variant"]: row for row in found["dreams"] if row["id"] == registered}
    assert status == 0
    assert rows["tiny"]["family"] == "vae_mdn_rnn"
    assert rows["tiny"]["bytes"] == sum(path.stat().st_size for path in DREAMS[registered].folder().iterdir())
    assert not rows["huge"]["present"]
    assert "vae_mdn_rnn" in found["models"]
    assert "temperature" in found["wrappers"]
    _, out, _ = run("list")
    (line,) = (line for line in out.splitlines() if "  tiny  " in line)
    assert line.split()[:3] == [registered, "tiny", "vae_mdn_rnn"]
    assert line.endswith("31.5 +- 2.2 (20 episodes)")


def test_eval_prints_the_figures_of_both_sides_as_json(run, folder, policy):
    command = ("eval", folder, "--policy", policy, "--episodes", 3, "--seed", 5, "--json")
    status, out, _ = run(*command)
    figures = json.loads(out)
    assert status == 0
    assert list(figures) == ["real", "dream"]
    for side in figures.values():
        assert {"mean", "std", "min", "max", "episodes"} <= set(side)
        assert side["episodes"] == 3
        assert side["mean"] == pytest.approx(sum(side["returns"]) / 3)
    assert run(*command)[1] == out
    assert json.loads(run(*command[:-2], 6, "--json")[1]) != figures


@pytest.mark.parametrize("side", ["real", "dream"])
def test_eval_plays_one_side_alone(run, folder, side):
    _, out, _ = run("eval", folder, "--policy", "random", "--episodes", 2, "--side", side, "--json")
    assert list(json.loads(out)) == [side]


def test_eval_prints_a_table_with_the_gap(run, folder):
    command = ("eval", folder, "--policy", "constant:0", "--episodes", 2)
    figures = json.loads(run(*command, "--json")[1])
    head, titles, real, dream, gap = run(*command)[1].splitlines()
    assert head == f"{folder}, 2 episodes from seed 0"
    assert titles.split()[:4] == ["policy", "side", "mean", "return"]
    assert real.split()[:3] == ["constant:0", "real", f"{figures['real']['mean']:.2f}"]
    assert dream.split()[:2] == ["dream", f"{figures['dream']['mean']:.2f}"]
    assert gap.split()[:4] == ["dream", "-", "real", f"{figures['dream']['mean'] - figures['real']['mean']:+.2f}"]


def test_eval_scores_the_probes(run, folder):
    _, out, _ = run("eval", folder, "--probes", "--episodes", 1, "--side", "real", "--json")
    assert list(json.loads(out)) == ["nothing", "always left", "random"]


def test_collect_prints_a_row_for_each_driver_and_continues(run, tmp_path):
    command = ("collect", "Dodge-v0", "--out", tmp_path / "d", "--episodes", 8, "--driver", "idle=1,random=1")
    status, out, _ = run(*command)
    assert status == 0
    titles, *rows, hint = out.splitlines()
    assert titles.split() == ["driver", "episodes", "steps", "mean", "return", "std"]
    assert [row.split()[0] for row in rows] == ["idle", "random", "all"]
    assert rows[-1].split()[1] == "8"
    assert hint.endswith(f"dreamgym train --data {tmp_path / 'd'} --out DREAM")
    found = json.loads(run(*command, "--json")[1])
    assert found["episodes"] == 8
    assert set(found["drivers"]) == {"idle", "random"}


def test_collect_records_with_a_policy(run, folder, policy, tmp_path):
    out = tmp_path / "d"
    command = ("collect", "Dodge-v0", "--out", out, "--episodes", 2, "--policy", policy, "--dream", folder, "--json")
    assert set(json.loads(run(*command)[1])["drivers"]) == {"policy"}
    mixed = (*command, "--driver", "policy=1,idle=1", "--seed", 10, "--noise", "0.5", "--random-share", "0.2")
    assert set(json.loads(run(*mixed)[1])["drivers"]) <= {"policy", "idle"}


def test_train_writes_a_dream_that_acts_ships_a_policy_and_is_trained_further(run, data, tmp_path, monkeypatch):
    out = tmp_path / "runs" / "dream"
    status, printed, _ = run(*small(data, out), "--json")
    assert status == 0
    assert json.loads(printed)["steps"] == {"vae": 4, "mdn_rnn": 4}
    env = gym.make("DreamEnv-v0", model=str(out))
    env.reset(seed=0)
    card = env.unwrapped.dream.card
    assert (card["id"], card["real"], card["max_episode_steps"]) == ("dream", "Dodge-v0", 300)
    assert card["data"]["episodes"] == 6
    assert card["command"].startswith(f"dreamgym train --data {data} --out {out}")

    assert run("train-policy", out, "--decisions", 64, "--lanes", 8, "--ppo.rollout", 4, "--ppo.minibatch", 32)[0] == 0
    assert run("eval", out, "--episodes", 1, "--side", "dream")[0] == 0

    before = (out / "weights.safetensors").read_bytes()
    assert run(*small(data, out))[0] == 0
    assert (out / "weights.safetensors").read_bytes() == before  # nothing was left to train
    assert (out / "training" / "checkpoints").is_dir()

    further = tmp_path / "further"
    command = ["train", "--data", str(data), "--out", str(further), "--from", str(out), "--only", "mdn_rnn"]
    command += ["--mdn-rnn.steps", "2", "--mdn-rnn.sequence-length", "8", "--starts", "12", "--json"]
    assert json.loads(run(*command)[1])["steps"] == {"mdn_rnn": 2}
    old, new = (gym.make("DreamEnv-v0", model=str(f)).unwrapped.dream.model.state_dict() for f in (out, further))
    changed = {name.partition(".")[0] for name in old if not old[name].equal(new[name])}
    assert changed == {"lstm", "heads"}


def test_training_further_may_add_a_part_that_the_dream_lacks(run, data, tmp_path):
    one, further = tmp_path / "one", tmp_path / "further"
    steps = ["--rssm.steps", "2", "--rssm.batch-size", "2", "--rssm.sequence-length", "8", "--starts", "12"]
    sizes = ["--model.deter-dim", "8", "--model.groups", "4", "--model.channels", "2", "2", "2", "2"]
    train = ("train", "--data", data, "--no-tensorboard", *steps)
    assert run(*train, "--out", one, "--model", "rssm", *sizes)[0] == 0
    assert run(*train, "--out", further, "--from", one, "--model.prior-draws", 2, "--model.free-nats", 0)[0] == 0
    model = load(str(further)).model
    assert model.config.prior_draws == 2
    assert model.config.groups == 4
    assert any(weight.abs().max() > 0 for weight in model.coupling.say.parameters())
    status, _, err = run(*train, "--out", tmp_path / "back", "--from", further, "--model.prior-draws", 1)
    assert status == 2
    assert "do not fit other sizes" in err


@pytest.mark.parametrize(
    ("arguments", "defaults"),
    [
        (["--model", "rssm"], {"deter-dim": 256, "blocks": 0}),
        (["--model=rssm", "--preset=dreamer_v3-size12m"], {"deter-dim": 2048, "blocks": 8}),
        (["--preset", "doom"], {"latent-dim": 64}),
    ],
)
def test_help_shows_the_values_of_a_preset(run, arguments, defaults):
    status, out, _ = run("train", *arguments, "--help")
    text = " ".join(re.sub("[^ -~]", " ", out).split())
    assert status == 0
    for name, value in defaults.items():
        assert re.search(rf"--model.{name} INT [^(]*\(default: {value}\)", text), name


def test_train_takes_a_preset_and_options_that_change_it(run, data, tmp_path):
    out = tmp_path / "dream"
    options = ["--rssm.steps=2", "--rssm.batch-size=2", "--rssm.sequence-length=4", "--starts=4", "--strip-episodes=0"]
    command = ["train", "--data", data, "--out", out, "--model", "rssm", "--preset", "dreamer_v2-tiny", *options]
    status, printed, _ = run(*command, "--model.head-layers", 1, "--no-tensorboard", "--json")
    assert status == 0
    terms = json.loads(printed)["terms"]["rssm"]
    assert list(terms) == ["reconstruction", "dynamics", "representation", "reward", "continue"]
    assert load(out).model.config == replace(dreamer_v2("tiny"), head_layers=1)


def test_train_policy_learns_in_imagination_into_a_file(run, folder, tmp_path):
    file = tmp_path / "imagined.safetensors"
    options = [
        "--updates",
        2,
        "--imagined",
        4,
        "--dreamer.horizon",
        3,
        "--dreamer.hidden",
        8,
        "--wrap",
        "tent:peak=0.5",
    ]
    _, out, _ = run("train-policy", folder, "--algo", "dreamer", "--out", file, *options, "--json")
    curve = json.loads(out)["curve"]
    assert curve[-1]["update"] == 2
    assert math.isfinite(curve[-1]["figures"]["imagined_return"])
    assert load_policy(file).config.norm == "rms"


SHORT = {
    "ppo": ["--decisions", 192, "--lanes", 8, "--ppo.rollout", 4, "--ppo.minibatch", 32],
    "dreamer": ["--updates", 6, "--imagined", 4, "--dreamer.horizon", 3, "--dreamer.norm", "none"],
    "cma": ["--cma.generations", 6, "--cma.population", 4, "--cma.rollouts", 2, "--cma.horizon", 5],
}


@pytest.mark.parametrize("algo", SHORT)
def test_train_policy_goes_on_where_it_was_interrupted(run, folder, tmp_path, monkeypatch, algo):
    if algo == "cma":
        pytest.importorskip("cma")
    dream = Path(shutil.copytree(folder, tmp_path / "dream"))
    before, command = set(dream.iterdir()), ["train-policy", dream, "--algo", algo, "--members", 2, *SHORT[algo]]
    monkeypatch.setattr("dreamgym.core.kept.KEEP_SECONDS", 0.0)
    with monkeypatch.context() as patch:
        patch.setattr("dreamgym.cli.policy.ship_policy", Mock(side_effect=KeyboardInterrupt))
        assert run(*command) == (130, "", "interrupted\n")
    assert {*dream.iterdir()} - before == {dream / f"policy.{algo}-{seed}.unfinished" for seed in (0, 1)}
    (dream / "card.toml").touch()  # it is loaded again, as by another process
    status, _, error = run(*command, "--wrap", "temperature:temperature=2")
    assert status == 2
    assert re.search(rf"policy.{algo}-0.unfinished was left by a training with wrap \[\]; give these to go on", error)
    offers = []
    monkeypatch.setattr(Kept, "offer", lambda *args: offers.append(args))
    status, out, error = run(*command, "--json")
    assert status == 0
    assert error.count("going on where that training was interrupted") == 2
    assert offers == []  # everything had been learned
    assert len(json.loads(out)["curve"]) == {"ppo": 12, "dreamer": 2, "cma": 12}[algo]
    assert {*dream.iterdir()} - before == {dream / "policy.safetensors"}


def test_several_members_act_as_the_mean_of_what_their_seeds_learn_alone(run, folder, tmp_path):
    options = ("--decisions", 64, "--lanes", 8, "--ppo.rollout", 4, "--ppo.minibatch", 32)
    files = [tmp_path / f"{name}.safetensors" for name in ("3", "4", "both")]
    for file, more in zip(files, (("--seed", 3), ("--seed", 4), ("--seed", 3, "--members", 2)), strict=True):
        assert run("train-policy", folder, "--out", file, *options, *more)[0] == 0
    one, other, both = (load_policy(file) for file in files)
    features = torch.randn(5, both.config.input_dim)
    assert torch.allclose(both(features), (one(features) + other(features)) / 2, atol=1e-6)
    assert not torch.allclose(one(features), other(features), atol=1e-3)


def test_train_policy_evolves_a_controller_into_a_file(run, folder, tmp_path):
    pytest.importorskip("cma")
    file = tmp_path / "controller.safetensors"
    options = ["--cma.generations", 2, "--cma.population", 4, "--cma.rollouts", 2, "--cma.horizon", 5]
    wrap = ["--wrap", "temperature:temperature=1.15"]
    _, out, _ = run("train-policy", folder, "--algo", "cma", "--out", file, *options, *wrap, "--json")
    assert len(json.loads(out)["curve"]) == 2
    assert run("eval", folder, "--policy", file, "--episodes", 1, "--side", "dream")[0] == 0


WRONG = [
    ("eval DreamTyo-v0", "unknown dream 'DreamTyo-v0'; available: .*Did you mean 'DreamToy-v0'?"),
    (
        "eval DreamToy-v0 --variant tny",
        "unknown variant of DreamToy-v0 'tny'; available: huge, tiny. Did you mean 'tiny'?",
    ),
    ("eval DreamToy-v0 --variant huge", "the dream in .*absent is missing; install its weights, or give another"),
    ("eval DreamToy-v0", "scored ships no policy; train one and give its file"),
    ("eval FOLDER --policy best.safetensors", "no policy at best.safetensors; expected 'shipped', 'random', 'const"),
    ("eval FOLDER --policy constant:7", "policy is 'constant:7'; tiny expects 1 of integers 0..2"),
    ("eval FOLDER --policy random --episodes 0", "episodes is 0; expected at least 1"),
    ("eval FOLDER --policy random --workers 0", "num_workers is 0; expected at least 1"),
    ("eval OTHER --policy POLICY", "the policy was trained in tiny with weights .*Train it in this dream"),
    ("eval DATA --policy random", "has no card.toml; expected a folder that `dreamgym train` or save_dream wrote"),
    ("collect Dogde-v0 --out OUT --episodes 2", "Environment `Dogde` doesn't exist"),
    ("collect Dodge-v0 --out OUT", "neither episodes nor steps is given; say how much to record"),
    ("collect Dodge-v0 --out OUT --episodes 0", "episodes is 0; expected at least 1"),
    ("collect Dodge-v0 --out OUT --episodes 2 --driver evasiv", "unknown driver 'evasiv'.*Did you mean 'evasive'?"),
    ("collect Dodge-v0 --out OUT --episodes 2 --driver idle=x", "driver is 'idle=x'; expected NAME, or NAME=SHARE"),
    ("collect Dodge-v0 --out OUT --episodes 2 --policy POLICY", "dream is None; give both, or neither"),
    ("collect Dodge-v0 --out OUT --episodes 2 --policy POLICY --dream OTHER", "other has weights .*Train it in this"),
    (
        "collect CartPole-v1 --out DATA --episodes 2",
        "observation_space is Box.*but .*dodge holds episodes of Box.*; record into another folder",
    ),
    ("train --data NOWHERE --out OUT", "is no dataset: it has no dataset.json. Record one with `dreamgym collect`"),
    ("train --data DATA --out OUT --model vae_mdn_rn", "unknown world model 'vae_mdn_rn'.*Did you mean 'vae_mdn_rnn'?"),
    (
        "train --data DATA --out OUT --model rssm --preset dreamer_v22",
        "unknown preset of rssm 'dreamer_v22'; .*Did you mean 'dreamer_v2'?",
    ),
    ("train --data DATA --out OUT --preset dom", "unknown preset of vae_mdn_rnn 'dom'; available: car_racing, doom. D"),
    ("train --data DATA --out OUT --preset doom --from FOLDER", "preset is 'doom' and from is '.*'; give one of them"),
    ("train --data DATA --out OUT --only mdn_rn", "unknown stage 'mdn_rn'; available: mdn_rnn, vae. Did you mean"),
    ("train --data DATA --out OUT --from DreamTyo-v0", "unknown dream 'DreamTyo-v0'"),
    ("train --data DATA --out OUT --from FOLDER --model.hidden-dim 9", "weights of tiny do not fit other sizes"),
    ("train --data DATA --out OUT --device cuda:7", "device is 'cuda:7', which is not to be had here"),
    ("train-policy FOLDER --out policy.zip", "out is policy.zip; expected a file name that ends in .safetensors"),
    ("train-policy FOLDER --wrap tent:peak", "wrap is 'tent:peak'; expected NAME:KEY=NUMBER, e.g. tent:peak=4.2"),
    ("train-policy FOLDER --wrap tnt:peak=4", "unknown wrapper 'tnt'.*Did you mean 'tent'?"),
    ("train-policy FOLDER --members 0", "members is 0; expected at least 1"),
    ("train-policy FOLDER --members 2 --algo dreamer", "members needs policies without norms; add --dreamer.norm none"),
    ("train-policy FOLDER --others FOLDER --algo cma", "others is for PPO; cma learns in one dream"),
    ("train-policy FOLDER --device cuda:7", "device is 'cuda:7', which is not to be had here"),
    ("train-policy FOLDER --decisions 0", "decisions is 0; expected at least 1"),
    ("improve FOLDER --data DATA --out OUT --only mdn", "unknown stage 'mdn'; available: mdn_rnn, vae"),
]


@pytest.mark.parametrize(("command", "message"), WRONG, ids=[command for command, _ in WRONG])
def test_what_is_wrong_is_said_in_one_line(run, command, message, folder, policy, data, registered, tmp_path):
    other = save_tiny_dream(tmp_path / "other", seed=1) if "OTHER" in command else None
    places = {"FOLDER": folder, "POLICY": policy, "DATA": data, "OTHER": other, "NOWHERE": tmp_path / "nowhere"}
    arguments = [places.get(part, tmp_path / "out" if part == "OUT" else part) for part in command.split()]
    status, out, error = run(*arguments)
    assert status == 2
    assert out == ""
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert re.search(message.replace("?", r"\?"), error), error
    assert not (tmp_path / "out").exists()


def test_an_option_that_does_not_exist_is_named(run, folder):
    status, _, error = run("eval", folder, "--episode", "3")
    assert status == 2
    assert "--episode" in error


def test_an_interrupted_command_says_so(run, monkeypatch):
    def interrupted(arguments):
        raise KeyboardInterrupt

    monkeypatch.setitem(cli.COMMANDS, "train", interrupted)
    assert run("train") == (130, "", "interrupted\n")
