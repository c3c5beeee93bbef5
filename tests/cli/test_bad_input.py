"""What `dreamgym report` and `dreamgym eval` say of what they cannot use, and what they do without it."""

import json
import re

import gymnasium as gym
import pytest
from lines import line_dream
from tiny import save_tiny_dream, save_tiny_policy

from dreamgym.cli import commands as cli
from dreamgym.core.policy import Policy, PolicyConfig, save_policy
from dreamgym.data.collect import collect
from dreamgym.envs.twin import why_no_real
from dreamgym.evaluation.probes import probe_policies


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Return a dream of Dodge, one whose real env is not here, recordings, and policies that fit neither."""
    folder = tmp_path_factory.mktemp("bad")
    dream = save_tiny_dream(folder / "tiny")
    lost = save_tiny_dream(folder / "lost", real="Nowhere-v0")
    for env in ("CartPole-v1", "Dodge-v0"):
        collect(env, folder / env, episodes=5, seed=3, driver="random", progress=False)
    other = save_tiny_policy(folder / "other.safetensors", save_tiny_dream(folder / "other", seed=1))
    five = save_policy(Policy(PolicyConfig(input_dim=12), gym.spaces.Discrete(5)), folder / "five.safetensors")
    wide = save_policy(Policy(PolicyConfig(input_dim=7), gym.spaces.Discrete(3)), folder / "wide.safetensors")
    return {
        "DREAM": dream, "LOST": lost, "CART": folder / "CartPole-v1", "DODGE": folder / "Dodge-v0", "OTHER": other,
        "FIVE": five, "WIDE": wide, "NOWHERE": folder / "nowhere", "OUT": folder / "out",
    }  # fmt: skip


@pytest.fixture
def run(places, capsys):
    """Run a command line in this process and return its exit status, output and errors."""

    def run(command):
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit_:
            cli.main([str(places.get(part, part)) for part in command.split()])
        return exit_.value.code, *capsys.readouterr()

    return run


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("report DREAM --data CART", r"CartPole-v1 has observation_space Box.*; tiny was trained on Box\(0, 255"),
        ("report DREAM --data DODGE --holdout 0.01", "0 of the 5 episodes of .* are held out at holdout 0.01; record "),
        ("report DREAM --data DODGE --holdout 0", r"holdout is 0.0; expected a number in \(0, 1\]"),
        ("report DREAM --data NOWHERE", "nowhere is no dataset: it has no dataset.json"),
        ("report DREAM --policy OTHER", "the policy was trained in other with weights .*Train it in this dream"),
        ("report DREAM --policy FIVE", r"the policy acts in Discrete\(5\); tiny expects Discrete\(3\)"),
        ("report DREAM --policy WIDE", "the policy sees 7 features; tiny has 12"),
        ("report DREAM --policy NOWHERE", "no policy at .*nowhere; expected"),
        ("report DREAM --episodes 1", "episodes is 1; expected at least 2"),
        ("eval DREAM --policy FIVE", r"the policy acts in Discrete\(5\); tiny expects Discrete\(3\)"),
        ("eval DREAM --policy WIDE", "the policy sees 7 features; tiny has 12"),
        ("eval DREAM --policy constant:0,1", "policy is 'constant:0,1'; tiny expects 1 of integers 0..2"),
        ("eval LOST --policy random --side real", "Environment `Nowhere` doesn't exist"),
    ],
)
def test_what_cannot_be_used_is_named_before_anything_is_measured(run, places, command, message):
    out = " --out OUT" if command.startswith("report") else ""
    status, said, error = run(command + out)
    assert status == 2
    assert said == ""
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert re.search(message, error), error
    assert not places["OUT"].exists()


@pytest.mark.parametrize("options", ["--policy random", "--probes"])
def test_eval_scores_the_dream_where_the_real_env_is_not_installed(run, options):
    status, out, error = run(f"eval LOST {options} --episodes 2 --json")
    figures = json.loads(out)
    assert status == 0
    assert list(figures["random"] if options == "--probes" else figures) == ["dream"]
    assert error == f"Not measured: the real env. {why_no_real(line_dream(real='Nowhere-v0'))}.\n"
    assert "Nowhere" in error


def test_nothing_is_missing_where_the_real_env_is_installed(run):
    assert run("eval DREAM --policy random --episodes 1 --json")[2] == ""
    assert why_no_real(line_dream()) == ""


def test_a_twin_that_is_not_installed_has_no_probes_of_its_own():
    assert probe_policies(line_dream(real="Nowhere-v0")) == {"random": "random"}
