"""How an online agent spends its real steps, its replayed ones and its imagined ones."""

from __future__ import annotations

from dataclasses import dataclass

from dreamgym.errors import InvalidArgument


@dataclass(frozen=True, kw_only=True)
class OnlineConfig:
    """How a run is done; the defaults are for vectors on one core."""

    steps: int = 10_000
    """Real steps in all; a finished run goes on if it is given more."""
    prefill: int = 500
    """Real steps by chance, in whole episodes, before learning begins."""
    train_ratio: float = 384.0
    """Replayed steps for each real step."""
    batch_size: int = 16
    """B, windows of an update."""
    sequence_length: int = 32
    """T, actions a window."""
    ending_share: float = 0.0
    """Share of windows that are made to hold a recorded termination, in [0, 1)."""
    learning_rate: float = 1e-3
    """Adam's, of the world model."""
    grad_clip: float = 100.0
    """Largest norm of the gradient of the world model's weights."""
    starts_per_update: int = 64
    """Imagined rollouts of an update, from posterior states of its batch, at most as many as there are."""
    max_episode_steps: int | None = None
    """Cuts longer episodes off; needed for an env without an end."""
    seed: int = 0
    """Of weights, batches, actions and the env's episodes."""
    eval_every: int = 1000
    """Real steps between two evaluations, which do not count as real steps."""
    eval_episodes: int = 5
    """Episodes of an evaluation."""
    eval_seed: int = 10_000_000
    """Of the first episode of each evaluation; those that are learned from have other seeds, below this."""
    log_every: int = 250
    """Real steps between two rows of the log."""
    checkpoint_every: int = 1000
    """Real steps between two checkpoints, which are written where an episode ends."""
    checkpoint_seconds: float = 300.0
    """A checkpoint is written at the first end of an episode after so long, too."""
    num_starts: int = 2000
    """States in the start bank of the dream."""
    device: str = "auto"
    """"auto" takes CUDA when present, or a torch device."""
    threads: int = 1
    """Of torch on the CPU; more than the cores that are free makes training many times slower."""
    progress: bool = True
    """Show a progress bar on a terminal."""
    tensorboard: bool = True
    """Write for TensorBoard where it is installed."""

    def __post_init__(self) -> None:
        """Check the counts.

        Raises:
            InvalidArgument: if one is out of range.
        """
        at_least_one = (
            "steps", "prefill", "batch_size", "sequence_length", "starts_per_update", "eval_every", "eval_episodes",
            "log_every", "checkpoint_every", "num_starts",
        )  # fmt: skip
        for name in at_least_one:
            if getattr(self, name) < 1:
                raise InvalidArgument(f"{name} is {getattr(self, name)}; expected at least 1.")
        if self.train_ratio <= 0:
            raise InvalidArgument(f"train_ratio is {self.train_ratio}; expected a positive number of replayed steps.")

    def updates_due(self, steps: int) -> int:
        """Return how many updates there should have been after so many real steps."""
        return int(max(0, steps - self.prefill) * self.train_ratio / (self.batch_size * self.sequence_length))


FREE = (
    "steps", "eval_every", "eval_episodes", "eval_seed", "log_every", "checkpoint_every", "checkpoint_seconds",
    "num_starts", "device", "threads", "progress", "tensorboard",
)  # fmt: skip
"""What may change when a run is resumed."""
