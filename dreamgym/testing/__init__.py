"""The test kit: for this package, and for those that bring their own worlds, bridges and wrappers."""

from dreamgym.registry import register_model
from dreamgym.testing.counting import CountingConfig, CountingWorld, counting_dream
from dreamgym.testing.experience import Episodes, Experience, check_experience
from dreamgym.testing.vector import check_vector_env

__all__ = [
    "CountingConfig",
    "CountingWorld",
    "Episodes",
    "Experience",
    "check_experience",
    "check_vector_env",
    "counting_dream",
]

register_model("counting", "dreamgym.testing.counting:CountingWorld")
