"""`dreamgym dreamer`: options of family and variant, what it prints, and what it leaves behind."""

import json
import re
import shlex

import pytest

from dreamgym.agents.dreamer_config import dreamer_v1, dreamer_v2
from dreamgym.cli import commands as cli
from dreamgym.cli.dreamer import VARIANTS, parse
from dreamgym.errors import UnknownName
from dreamgym.models.rssm import Config

SMALL = shlex.split(
    "--model.deter-dim 8 --model.hidden-dim 8 --model.groups 2 --model.classes 3 --agent.hidden 8 --agent.horizon 3 "
    "--steps 70 --prefill 50 --train-ratio 4 --batch-size 2 --sequence-length 6 --starts-per-update 4 "
    "--eval-episodes 1 --num-starts 10 --no-tensorboard"
)


def test_the_command_leaves_a_dream_that_can_be_scored(tmp_path, capsys):
    out = tmp_path / "cart"
    with pytest.raises(SystemExit) as done:
        cli.main(["dreamer", "--env", "CartPole-v1", "--out", str(out), *SMALL])
    assert done.value.code == 0
    printed = capsys.readouterr().out
    assert re.search(r"70 real steps, 6 updates: mean return \d+\.\d \+- 0\.0 over 1 episodes", printed)
    assert f"dreamgym eval {out}" in printed
    with pytest.raises(SystemExit) as done:
        cli.main(["eval", str(out), "--policy", str(out / "policy.safetensors"), "--episodes", "1", "--json"])
    assert done.value.code == 0
    assert set(json.loads(capsys.readouterr().out)) == {"real", "dream"}
    assert f'"dreamgym dreamer --env CartPole-v1 --out {out}' in (out / "card.toml").read_text()


def test_a_variant_brings_its_papers_defaults_and_options_change_them():
    given = ["--env", "CartPole-v1", "--out", "x"]
    assert parse([*given, "--variant", "v1"]).agent == dreamer_v1()
    assert parse([*given, "--variant=v2", "--agent.gamma", "0.5"]).agent == dreamer_v2(gamma=0.5)
    assert parse([*given, "--variant", "v2_continuous"]).agent == dreamer_v2(discrete=False)
    assert parse(given).config.deter_dim == 128
    assert parse(["--env", "Dodge-v0", "--out", "x"]).config == Config()
    assert parse([*given, "--starts-per-update", "7"]).run.starts_per_update == 7


def test_a_variant_or_family_that_does_not_exist_is_refused_by_its_name():
    given = ["--env", "CartPole-v1", "--out", "x"]
    with pytest.raises(UnknownName, match=f"unknown variant 'v9'; available: {', '.join(sorted(VARIANTS))}"):
        parse([*given, "--variant", "v9"])
    with pytest.raises(UnknownName, match="unknown world model 'rsm'"):
        parse([*given, "--model", "rsm"])


def test_an_env_that_cannot_be_learned_ends_with_one_line(tmp_path, capsys):
    with pytest.raises(SystemExit) as done:
        cli.main(["dreamer", "--env", "Blackjack-v1", "--out", str(tmp_path / "x"), *SMALL])
    assert done.value.code == 2
    assert "error: observation space Tuple" in capsys.readouterr().err
