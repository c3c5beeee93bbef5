"""What a report measures and how much of it."""

from __future__ import annotations

from dataclasses import dataclass

from dreamgym.errors import InvalidArgument

FIRST_SEED = 8_000_000
"""Of a report's own real episodes: no dream of ours was recorded, trained, chosen or scored on seeds from here on."""
APART = 100_000
"""Between the first seeds of two uses, so that no episode serves twice."""


@dataclass(frozen=True, kw_only=True)
class ReportConfig:
    """How much is measured."""

    horizon: int = 100
    """Steps dreamed with closed eyes."""
    context: int = 8
    """Observations that the model sees before it closes them."""
    windows: int = 96
    """Stretches of held-out episodes that are dreamed, at most one of each episode."""
    draws: int = 19
    """Dreams of each stretch; the least and the greatest of 19 are the 5% and the 95% quantile."""
    record: int = 96
    """Real episodes that are recorded if no data are given."""
    episodes: int = 20
    """Real and dreamed episodes of each policy."""
    checkpoints: int = 8
    """Of the policy that is trained for longer and longer."""
    lanes: tuple[int, ...] = (1, 64, 512)
    """Dreams stepped together while speed is measured."""
    seconds: float = 0.2
    """How long each speed is measured."""
    seed: int = FIRST_SEED
    """First of the report's seeds."""

    def __post_init__(self) -> None:
        least = {"horizon": 1, "context": 1, "windows": 2, "draws": 2, "record": 2, "episodes": 2, "checkpoints": 2,
                 "seed": 0}  # fmt: skip
        for name, low in least.items():
            if getattr(self, name) < low:
                raise InvalidArgument(f"{name} is {getattr(self, name)}; expected at least {low}.")

    def first_seed(self, use: str) -> int:
        """Return the seed of the first episode of one of `USES`."""
        return self.seed + APART * USES.index(use)


USES = ("held-out episodes", "policies", "training for longer", "steps outside the data")
"""What a report needs real episodes for."""
