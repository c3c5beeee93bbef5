"""Agents that learn a world model of a real environment while they act in it."""

from dreamgym.online.config import OnlineConfig
from dreamgym.online.run import OnlineResult, train_online

__all__ = ["OnlineConfig", "OnlineResult", "train_online"]
