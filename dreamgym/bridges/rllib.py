"""RLlib: dreams on its env runners, local or remote, and its policies as dreamgym's."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper

from dreamgym.bridges.export import export_perceptron, first_outputs
from dreamgym.bridges.stretch import stretch
from dreamgym.core.policy import Policy
from dreamgym.envs.open import Model
from dreamgym.envs.simulator import parse_autoreset_mode
from dreamgym.envs.vector_env import DreamVectorEnv
from dreamgym.errors import InvalidArgument, InvalidArgumentType, MissingExtra

try:
    from ray.rllib.algorithms import Algorithm, AlgorithmConfig
    from ray.rllib.algorithms.ppo.torch.default_ppo_torch_rl_module import DefaultPPOTorchRLModule
    from ray.rllib.core.models.torch.encoder import TorchMLPEncoder
    from ray.rllib.core.models.torch.heads import TorchFreeLogStdMLPHead, TorchMLPHead
    from ray.rllib.utils import force_list
except ImportError as error:
    raise MissingExtra("the bridge to RLlib", "ray[rllib]", "rllib") from error

Config = TypeVar("Config", bound=AlgorithmConfig)


def dream_config(
    config: Config, model: str | Path, num_envs: int = 1, *, module: str = "dreamgym", **options: Any
) -> Config:
    """Return an algorithm's config with a dream as its environment.

    RLlib needs nothing of this: `env="dreamgym:DreamDodge-v0"` with `gym_env_vectorize_mode="vector_entry_point"` runs.
    But RLlib resets a lane in the step after the one that ends it, and in any other autoreset mode it joins one episode
    to the next without a word. So this also puts `guard` on every env runner, which refuses another mode as the env is
    made, wherever that mode came from: an option here, or `config.environment(env_config=...)` before or after. What a
    runner in another process refuses is in the log, and the algorithm is not built.

    The guard is missing where this function was never called, and where a later `config.callbacks(
    on_environment_created=...)` replaced it: give `[guard, yours]` there. A class of callbacks does not replace it.

    Args:
        config: of PPO or another algorithm; it is changed and returned.
        model: a registered dream's id or a folder. Each process loads it once, for all of its env runners.
        num_envs: lanes of each env runner.
        module: what a process must import to know the dream's id or its model's family.
        **options: of `DreamVectorEnv`; `observation` is "features" here unless you say otherwise.

    Raises:
        InvalidArgument: if another autoreset mode or output is asked for.
        InvalidArgumentType: if the dream is in memory, where other processes cannot get it.
    """
    if not isinstance(model, (str, Path)):
        raise InvalidArgumentType(
            f"model is a {type(model).__name__}; env runners load a dream by its id or folder: save_dream writes one."
        )
    options, name = {"observation": "features", **options}, str(model)
    if Path(model).is_dir():
        options["model"], name = str(Path(model).resolve()), "DreamEnv-v0"
    _check(options.get("autoreset_mode", AutoresetMode.NEXT_STEP), options.get("output", "numpy"))
    config.environment(f"{module}:{name}", env_config=options)
    config.env_runners(num_envs_per_env_runner=num_envs, gym_env_vectorize_mode="vector_entry_point")
    others = [other for other in force_list(config.callbacks_on_environment_created) if other is not guard]
    return config.callbacks(on_environment_created=[guard, *others])


def guard(*, env_runner: Any, env: Any, env_context: Any, **kwargs: Any) -> None:
    """Refuse what an env runner cannot use, and keep the lanes of several runners apart: an `on_environment_created`.

    RLlib seeds its runners with consecutive numbers, as Gymnasium seeds lanes, so that runner 2 would dream the dreams
    of runner 1 once more, one lane further on. Here each gets seeds of its own.

    Raises:
        InvalidArgument: if the env's autoreset mode is not "NextStep", or its output is not "numpy".
    """
    _check(env.metadata["autoreset_mode"], env.view.output if isinstance(env, DreamVectorEnv) else "numpy")
    env_runner.env = _Apart(env_runner.env, (env_context.worker_index or 0) * env.num_envs)


class _Apart(VectorWrapper):
    """Adds a number to the seed."""

    def __init__(self, env: VectorEnv[Any, Any, Any], offset: int) -> None:
        super().__init__(env)
        self.offset = offset

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> Any:
        return self.env.reset(seed=None if seed is None else seed + self.offset, options=options)


def _check(mode: AutoresetMode | str, output: str) -> None:
    mode, needed = parse_autoreset_mode(mode), AutoresetMode.NEXT_STEP
    if mode is not needed:
        raise InvalidArgument(
            f"autoreset_mode is {mode.value!r}; RLlib resets a lane in the step after the one that ends it, and would "
            f"join episodes: use {needed.value!r}."
        )
    if output != "numpy":
        raise InvalidArgument(f"output is {output!r}; RLlib takes arrays: use 'numpy'.")


def export_policy(algorithm: Algorithm, dream: Model, path: str | Path | None = None) -> Policy:
    """Return what a trained PPO, APPO or IMPALA does deterministically, as a dreamgym policy.

    Args:
        algorithm: with the default RLModule on a dream's features.
        dream: the dream that it was trained in; its name and the digest of its weights go with the policy.
        path: where to write it as well; None does not write.

    Raises:
        InvalidArgument: if the module is no plain perceptron, or connectors change what it sees or does.
        PolicyMismatch: if it was trained on something else than this dream's features, or for other actions.
    """
    config, module = algorithm.config, algorithm.get_module()
    assert config is not None
    if config._env_to_module_connector is not None or config._module_to_env_connector is not None:
        raise InvalidArgument("connectors change what the policy sees or does; train without them to export it.")
    layers = _perceptron(module)
    space = module.action_space
    if isinstance(space, Box):  # means, and for most heads log standard deviations behind them
        layers[-1] = first_outputs(layers[-1], int(space.low.size))
        layers[-1] = stretch(layers[-1], space) if config.normalize_actions else layers[-1]
    return export_perceptron(layers, dream, space, path=path)


def _perceptron(module: Any) -> list[Any]:
    """Return the layers from features to what parametrises the distribution of actions."""
    kind = type(module)
    if issubclass(kind, DefaultPPOTorchRLModule) and kind._forward is DefaultPPOTorchRLModule._forward:
        encoder: Any = getattr(module.encoder, "encoder" if module.encoder.config.shared else "actor_encoder", None)
        if type(encoder) is TorchMLPEncoder and type(module.pi) in (TorchMLPHead, TorchFreeLogStdMLPHead):
            return [*encoder.net.mlp, *module.pi.net.mlp]
    raise InvalidArgument(f"a {kind.__name__} cannot be exported; expected PPO's default module without memory.")
