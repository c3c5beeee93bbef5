"""Recorded experience: episodes on disk, windows for training, collection, Minari in and out."""

from dreamgym.data.episodes import Dataset, Episode
from dreamgym.data.writer import DatasetWriter

__all__ = ["Dataset", "DatasetWriter", "Episode"]
