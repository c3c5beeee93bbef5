"""Training world models: stages, checkpoints, resuming, logs."""

from dreamgym.training.run import FitResult, TrainConfig, fit

__all__ = ["FitResult", "TrainConfig", "fit"]
