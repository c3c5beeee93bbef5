"""Dreams as Gymnasium environments: trained world models that any reinforcement-learning library can train in.

    >>> import gymnasium as gym, dreamgym
    >>> "DreamEnv-v0" in gym.registry
    True

Importing this package registers its environments and names; torch is imported on first use.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium as gym

from dreamgym.registry import register_bridge, register_dream, register_model, register_planner, register_wrapper

if TYPE_CHECKING:
    from dreamgym.core.check import check_world_model
    from dreamgym.core.imagine import imagine
    from dreamgym.core.model import Transition, WorldModel
    from dreamgym.core.starts import StartBank
    from dreamgym.envs.env import DreamEnv
    from dreamgym.envs.simulator import Simulator
    from dreamgym.envs.twin import make_real
    from dreamgym.envs.vector_env import DreamVectorEnv
    from dreamgym.evaluation.transfer import evaluate
    from dreamgym.hub import list_dreams, load, load_policy, save_dream

__version__ = "0.1.0"

__all__ = [
    "DreamEnv",
    "DreamVectorEnv",
    "Simulator",
    "StartBank",
    "Transition",
    "WorldModel",
    "check_world_model",
    "evaluate",
    "imagine",
    "list_dreams",
    "load",
    "load_policy",
    "make_real",
    "register_bridge",
    "register_dream",
    "register_model",
    "register_planner",
    "register_wrapper",
    "save_dream",
]

_LAZY = {  # name -> module that defines it; the same names as the type checker's imports above
    "DreamEnv": "dreamgym.envs.env",
    "DreamVectorEnv": "dreamgym.envs.vector_env",
    "Simulator": "dreamgym.envs.simulator",
    "StartBank": "dreamgym.core.starts",
    "Transition": "dreamgym.core.model",
    "WorldModel": "dreamgym.core.model",
    "check_world_model": "dreamgym.core.check",
    "evaluate": "dreamgym.evaluation.transfer",
    "imagine": "dreamgym.core.imagine",
    "list_dreams": "dreamgym.hub",
    "load": "dreamgym.hub",
    "load_policy": "dreamgym.hub",
    "make_real": "dreamgym.envs.twin",
    "save_dream": "dreamgym.hub",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'dreamgym' has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_LAZY[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


_here = Path(__file__).resolve().parent
if not (_here / "wrappers").is_dir() and (_here.parent / "wrappers" / "__init__.py").is_file():
    __path__.append(str(_here.parent))  # a source tree: wrappers/ and pretrained/ lie one level up

if "Dodge-v0" not in gym.registry:  # a reloaded module would make Gymnasium warn
    gym.register(
        "Dodge-v0",
        entry_point="dreamgym.real.dodge:DodgeEnv",
        vector_entry_point="dreamgym.real.dodge:DodgeVectorEnv",
        max_episode_steps=300,
    )
    gym.register("CarRacing64-v0", entry_point="dreamgym.real.car_racing:make", max_episode_steps=250)
    for doom, size in (("DoomTakeCover-v0", "wide"), ("DoomTakeCover64-v0", "square")):
        gym.register(doom, entry_point="dreamgym.real.take_cover:make", max_episode_steps=525, kwargs={"size": size})
    for maze in ("Dyna", "Blocking", "Shortcut"):
        gym.register(
            f"DynaMaze{maze.removeprefix('Dyna')}-v0",
            entry_point="dreamgym.real.maze:MazeEnv",
            kwargs={"maze": maze.lower()},
        )
    gym.register(
        "DreamEnv-v0",
        entry_point="dreamgym.envs.env:DreamEnv",
        vector_entry_point="dreamgym.envs.vector_env:DreamVectorEnv",
    )

register_model("mlp_ensemble", "dreamgym.models.mlp_ensemble:MlpEnsemble")
register_model("rssm", "dreamgym.models.rssm:Rssm")
register_model("tabular", "dreamgym.models.tabular:Tabular")
register_model("vae_mdn_rnn", "dreamgym.models.vae_mdn_rnn:VaeMdnRnn")
register_wrapper("horizon", "dreamgym.wrappers.horizon:Horizon")
register_wrapper("penalize_disagreement", "dreamgym.wrappers.penalize_disagreement:PenalizeDisagreement")
register_wrapper("random_temperature", "dreamgym.wrappers.random_temperature:RandomTemperature")
register_wrapper("reward_shaping", "dreamgym.wrappers.reward_shaping:RewardShaping")
register_wrapper("temperature", "dreamgym.wrappers.temperature:Temperature")
register_wrapper("tent", "dreamgym.wrappers.reward_shaping:tent")
register_wrapper("terminate_on_disagreement", "dreamgym.wrappers.terminate_on_disagreement:TerminateOnDisagreement")
register_planner("cem", "dreamgym.planners.shooting:Cem")
register_planner("gradient", "dreamgym.planners.gradient:GradientAscent")
register_planner("mppi", "dreamgym.planners.shooting:Mppi")
register_planner("random", "dreamgym.planners.shooting:RandomShooting")
register_planner("rollout", "dreamgym.planners.first_action:Rollout")
register_planner("tree", "dreamgym.planners.tree_search:TreeSearch")
register_bridge("evotorch", "dreamgym.bridges.evotorch:DreamFactory")
register_bridge("rl_games", "dreamgym.bridges.rl_games:DreamVecEnv")
register_bridge("rllib", "dreamgym.bridges.rllib:dream_config")
register_bridge("sb3", "dreamgym.bridges.sb3:DreamVecEnv")
register_bridge("sb3_contrib", "dreamgym.bridges.sb3_contrib:RecurrentActor")
register_bridge("skrl", "dreamgym.bridges.skrl:DreamWrapper")
register_bridge("tianshou", "dreamgym.bridges.tianshou:DreamVenv")
register_bridge("torchrl", "dreamgym.bridges.torchrl:DreamTorchRLEnv")

import dreamgym.pretrained  # noqa: E402, F401  registers the bundled dreams; needs the path above
