"""Keeps played episodes as a dataset, so that playing makes training data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from dreamgym.data.writer import DatasetWriter
from dreamgym.envs.twin import real_id
from dreamgym.errors import DreamgymError
from dreamgym.hub import LoadedDream
from dreamgym.viewer.trail import Trail


class Keeper:
    """Writes the episodes of one side to a dataset.

    Args:
        folder: of the dataset; a new one or one of the same spaces.
        dream: that is played.
        side: `"dream"` or `"real"`; episodes of the other are not kept.

    Raises:
        InvalidDataset: if the folder holds something else.
        OSError: if it cannot be written.
    """

    def __init__(self, folder: Path, dream: LoadedDream, side: str) -> None:
        name = real_id(dream) if side == "real" else dream.name
        self._writer = DatasetWriter(folder, name, dream.model.observation_space, dream.model.action_space)
        self.folder, self._side = folder, side
        self.episodes = 0
        self.message = ""
        """What went wrong last, for people; whoever shows it clears it."""
        self._person = False

    def note(self, person: bool) -> None:
        """Remember whether a person drives: an episode in which one did at any time is theirs."""
        self._person = self._person or person

    def keep(self, side: str, trail: Trail) -> None:
        """Write an episode that ended or was left."""
        episode = trail.episode()
        if side != self._side or episode is None:
            return
        driver, self._person = "person" if self._person else "policy", False
        try:
            self._writer.add(replace(episode, meta={**episode.meta, "driver": driver}))
            self.episodes += 1
        except (DreamgymError, OSError) as error:
            self.message = f"an episode is lost: {error}"

    def close(self) -> None:
        """Finish the files."""
        self._writer.close()
