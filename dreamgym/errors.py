"""One exception per fault; each is also the builtin that it refines, so that `except ValueError` keeps working.

A message says what was given, what was expected and what to do, in that order.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any


class DreamgymError(Exception):
    """Base of everything that dreamgym raises on purpose."""


class UnknownName(DreamgymError, KeyError):
    """A name that is in no registry: a model, wrapper, dream, variant, bridge or policy."""

    def __init__(self, kind: str, name: str, available: Iterable[str]) -> None:
        known = sorted(available)
        self._given = kind, name, known
        close = difflib.get_close_matches(str(name), known, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        self.message = f"unknown {kind} {name!r}; available: {', '.join(known) or 'none'}.{hint}"
        super().__init__(self.message)

    def __str__(self) -> str:  # KeyError would print the repr of its argument
        return self.message

    def __reduce__(self) -> tuple[Any, ...]:  # a worker process hands its exceptions over pickled
        return type(self), self._given


class InvalidArgument(DreamgymError, ValueError):
    """An argument outside of what it may be: a mode, a count, a horizon."""


class InvalidArgumentType(DreamgymError, TypeError):
    """An argument of a type that cannot be understood."""


class InvalidTemperature(InvalidArgument):
    """A temperature that is not a positive finite number."""


class InvalidAction(DreamgymError, ValueError):
    """An action of the wrong shape, dtype or range, or one that is not finite."""


class InvalidActionType(InvalidAction, TypeError):
    """An action that is no array at all where one is expected."""


class InvalidObservation(DreamgymError, ValueError):
    """An observation of the wrong shape or dtype, or one that is not finite."""


class UnsupportedSpace(DreamgymError, TypeError):
    """A Gymnasium space that dreamgym cannot turn into tensors."""


class InvalidModel(DreamgymError, TypeError):
    """A world model that breaks the `WorldModel` contract."""


class MissingHead(DreamgymError, NotImplementedError):
    """A prediction is asked of a model that has no head for it; never answered with a silent zero."""


class NotDecodable(DreamgymError, NotImplementedError):
    """Pixels are asked of a model that has no decoder."""


class StepBeforeReset(DreamgymError, RuntimeError):
    """`step`, `render` or `get_state` before the first `reset`, or a step of a lane whose episode has ended."""


class CorruptDream(DreamgymError, ValueError):
    """A dream or policy on disk is truncated, tampered with or incomplete."""


class ForeignDream(DreamgymError, ValueError):
    """A folder or file that is something else than a dream or policy, or one that could run code when loaded."""


class PolicyMismatch(DreamgymError, ValueError):
    """A policy that was made for another dream or for other spaces."""


class InvalidDataset(DreamgymError, ValueError):
    """Recorded experience that is empty, not finite, truncated, or of other spaces than asked for."""


class NotWritable(DreamgymError, OSError):
    """A file or folder that cannot be written: the disk is full, it is write-protected, or an encoder died."""


class TrainingFailed(DreamgymError, RuntimeError):
    """Training had to stop; the last complete checkpoint is intact."""


class MissingExtra(DreamgymError, ImportError):
    """An optional dependency is not installed; the message names the pip extra."""

    def __init__(self, what: str, needs: str, extra: str) -> None:
        self._given = what, needs, extra
        super().__init__(f'{what} needs {needs}: pip install "dreamgym[{extra}]"')

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self._given
