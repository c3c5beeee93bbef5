"""What a player can do, without a window: any front end calls these methods and shows `panes()`."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from gymnasium import spaces

from dreamgym.envs.open import open_dream
from dreamgym.envs.painters import make_painter
from dreamgym.envs.twin import keys_to_action
from dreamgym.envs.vector_env import render_fps
from dreamgym.errors import DreamgymError, InvalidArgument
from dreamgym.evaluation.policies import Actor, PolicyLike, make_policy
from dreamgym.hub import LoadedDream
from dreamgym.registry import DREAMS
from dreamgym.viewer.clock import Clock
from dreamgym.viewer.keys import KeyMap
from dreamgym.viewer.line import Lane, Line
from dreamgym.viewer.trail import Trail
from dreamgym.viewer.worlds import DreamWorld, RealWorld

SIDES = ("dream", "real", "both")
FUTURES = 4
HISTORY = 200  # steps that the strips show
REST = 1.5  # seconds between the end of an episode and the next
WARM_UP = 16  # real decisions before a dream takes over beside its twin: the filter then knows how things move
TEMPERATURES = (0.1, 2.0)
RATES = (1.0, 120.0)


@dataclass(frozen=True)
class Pane:
    """One picture on the screen and what is said of it."""

    kind: str
    """"dream", "real" or "future"."""
    name: str
    picture: np.ndarray
    """`[h, w, 3]` uint8."""
    earned: float
    steps: int
    over: str
    """How the episode ended, or ""."""


@dataclass(frozen=True)
class Report:
    """What one step of the foremost lane brought, for the strips."""

    reward: float
    earned: float
    termination: float | None
    disagreement: float | None


class Session:
    """A dream being played.

    Args:
        model: a registered dream's id, a folder, or a `LoadedDream`.
        variant: of a registered dream.
        policy: drives while nobody acts; `"shipped"`, a file, or None. A dream without a policy simply has none.
        side: `"dream"`, its `"real"` twin, or `"both"`, in the same situation under the same actions.
        seed: of the first episode; each further one has the next.
        temperature: of the dream.
        rate: steps a second; by default those of real time.
        ended: called with the side's name and the trail of each episode that is left, whether it has ended or not.

    Raises:
        UnknownName, PolicyMismatch, FileNotFoundError: if dream or policy cannot be had.
        InvalidArgument: if an argument is out of range.
        MissingExtra: if the real twin needs a package that is not installed.
    """

    def __init__(
        self,
        model: str | LoadedDream,
        *,
        variant: str | None = None,
        policy: PolicyLike | None = "shipped",
        side: str = "dream",
        seed: int = 0,
        temperature: float = 1.0,
        rate: float | None = None,
        ended: Callable[[str, Trail], object] = lambda side, trail: None,
    ) -> None:
        if side not in SIDES:
            raise InvalidArgument(f"side is {side!r}; expected one of {', '.join(map(repr, SIDES))}.")
        self.message = ""
        """The last thing that happened, for people; the front end clears it."""
        self.person = False
        """Whether a person drives even where no key is held."""
        self.seed = seed
        self.history: deque[Report] = deque(maxlen=HISTORY)
        self._id, self._ended, self._policy = model, ended, policy
        self._real: Line | None = None
        self._futures: Line | None = None
        self._before_futures: Sequence[Report] = ()
        self._saved: Any = None
        self._rested = 0.0
        self.last_action: Any = None
        """What was done in the last step, by whomever; None before the first of an episode."""
        self._action: Any = None  # a person's, now
        self._planned: tuple[Lane | None, Any] = None, None  # where the policy acts next, and what it does
        self._open(variant, temperature)
        self.clock = Clock(render_fps(self.dream) if rate is None else rate)
        self.side, self._both = side, side == "both"
        self.reset(seed)

    def _open(self, variant: str | None, temperature: float) -> None:
        self.dream = open_dream(self._id, variant, (), "cpu")
        self.variant = variant
        self.actor: Actor | None = None
        if self._policy is not None and (self._policy != "shipped" or self.dream.ships_policy):
            self.actor = make_policy(self._policy, self.dream)
            self.actor.reset([self.seed])
        try:
            self.keys: KeyMap | None = KeyMap(keys_to_action(self.dream, idle=True), self.dream.model.action_space)
        except DreamgymError:  # a robot's twenty joints have no keys: the policy drives
            self.keys = None
        self.paint = make_painter(self.dream, dark=True)
        self._dream = Line(DreamWorld(self.dream, temperature), partial(self._ended, "dream"))

    @property
    def variants(self) -> Sequence[str]:
        """The names of the dream's variants, the default first; none for a folder."""
        return tuple(DREAMS[self._id].variants) if isinstance(self._id, str) and self._id in DREAMS else ()

    @property
    def lines(self) -> list[Line]:
        """What is being played, the foremost first."""
        if self._futures is not None:
            return [self._futures]
        if self.side == "dream":
            return [self._dream]
        return [self._reality] if self.side == "real" else [self._reality, self._dream]

    @property
    def over(self) -> bool:
        """Whether everything that is being played has ended."""
        return all(line.over for line in self.lines)

    @property
    def _reality(self) -> Line:
        if self._real is None:
            self._real = Line(RealWorld(self.dream), partial(self._ended, "real"))
            self._real.reset(self.seed)
        return self._real

    @property
    def temperature(self) -> float:
        """Of the dream."""
        world = self._dream.world
        assert isinstance(world, DreamWorld)
        return world.temperature

    @temperature.setter
    def temperature(self, temperature: float) -> None:
        for line in (self._dream, self._futures):
            if line is not None and isinstance(line.world, DreamWorld):
                line.world.temperature = float(np.clip(temperature, *TEMPERATURES))

    @property
    def rate(self) -> float:
        """Steps a second."""
        return self.clock.rate

    @rate.setter
    def rate(self, rate: float) -> None:
        self.clock.rate = float(np.clip(rate, *RATES))

    @property
    def latent(self) -> np.ndarray:
        """`[F]`, what a policy sees of the foremost lane."""
        return self.lines[0].world.features()[0]

    def reset(self, seed: int | None = None) -> None:
        """Begin an episode: that of a seed, or the next."""
        self.seed = self.seed + 1 if seed is None else seed
        self._futures, self._rested = None, 0.0
        self._action = self.last_action = None
        self.history.clear()
        self.clock.restart()
        if self.side != "dream":
            self._reality.reset(self.seed)
        if self.side != "real":
            self._dream.reset(self.seed)
        if self.side == "both":
            self._warm_up()

    def _warm_up(self) -> None:
        for _ in range(WARM_UP):
            if self._reality.over:  # too short an episode to share: begin with its first moment
                self._reality.reset(self.seed)
                break
            self._reality.step(self._decide(None))
        self.synchronise()
        self._dream.lanes[0] = replace(self._dream.lanes[0], earned=self._reality.lanes[0].earned)
        self.message = ""

    def advance(self, seconds: float, action: Any = None) -> int:
        """Let time pass and return how many steps were made.

        Args:
            seconds: since the last call.
            action: what a person does, in env units; None if nobody touches anything.
        """
        self._action = action
        if self.over:
            self._rested += seconds
            if self._rested >= REST and not self.clock.paused:
                self.reset()
            return 0
        due = self.clock.advance(seconds)
        for _ in range(due):
            self._step()
        return due

    def _step(self) -> None:
        action, went_on = self._decide(self._action), not self.lines[0].lanes[0].over
        for line in self.lines:
            line.step(action)
        self.last_action = action
        front = self.lines[0].lanes[0]
        if went_on and front.last is not None:
            info = front.last.info or {}
            self.history.append(
                Report(front.last.reward, front.earned, info.get("termination"), info.get("disagreement"))
            )
        if self.lines[0].over == "diverged":
            self.message = "the dream left the finite numbers and was cut off there"
        if self.over:
            self.clock.restart()

    def _decide(self, action: Any) -> Any:
        """Return what is done next: by the person, by the policy, or by nobody."""
        if action is not None:
            return action
        return self._idle() if self.actor is None or self.person else self._plan(self.actor)

    def _plan(self, actor: Actor) -> Any:
        """Return what the policy does in the first lane that goes on; it is asked once for each step."""
        front = self.lines[0]
        i = next((i for i, lane in enumerate(front.lanes) if not lane.over), 0)
        if self._planned[0] is not front.lanes[i]:
            features = torch.from_numpy(front.world.features()[i : i + 1])
            self._planned = front.lanes[i], actor.act(features)[0]
        return self._planned[1]

    def _idle(self) -> Any:
        if self.keys is not None and self.keys.idle is not None:
            return self.keys.idle
        if self.last_action is not None:  # of buttons that cannot be let go, the last one stays down
            return self.last_action
        space = self.dream.model.action_space
        if isinstance(space, spaces.Box):
            return np.clip(np.zeros(space.shape, space.dtype), space.low, space.high)
        assert isinstance(space, spaces.Discrete)
        return space.start

    def panes(self) -> list[Pane]:
        """Return what is to be seen now."""
        action, found = self._decide(self._action), []
        for line in self.lines:
            smooth = self.clock.phase > 0 and not line.over
            seen = line.world.between(action, self.clock.phase) if smooth else line.world.observations()
            for lane, obs in zip(line.lanes, seen, strict=True):
                kind = "future" if line is self._futures else line.world.kind
                picture = self.paint(obs, action)
                found.append(Pane(kind, line.world.name, picture, lane.earned, len(lane.trail), lane.over))
        return found

    # what keys do

    def toggle_driver(self) -> None:
        """Let the policy drive where no key is held, or let nobody."""
        if self.actor is None:
            self.message = f"{self.dream.name} has no policy: you drive"
            return
        self.person = not self.person
        self.message = "you drive" if self.person else "the policy drives; hold a key to take over"

    def toggle_side(self) -> None:
        """Go from the dream to its real twin, or back; each stays as it was left.

        Begun side by side, both are a third stop, where the dream follows reality again.
        """
        self._futures = None
        stops = SIDES if self._both else SIDES[:2]
        try:
            self.side = stops[(stops.index(self.side) + 1) % len(stops)]
            lines = self.lines
        except (DreamgymError, ImportError) as error:
            self.side = "dream"
            self.message = str(error)
            return
        for line in lines:
            if not line.lanes:
                line.reset(self.seed)
        self.history.clear()
        self.clock.restart()
        self.message = f"this is {'reality' if self.side == 'real' else 'the dream'}"
        if self.side == "both":
            self.synchronise()

    def synchronise(self) -> None:
        """Let the dream go on from what was last really seen."""
        if self.side != "both":
            self.message = "synchronising needs both: start with --side-by-side"
            return
        assert isinstance(self._reality.world, RealWorld)
        self._dream.follow(self._reality.world.state, len(self._reality.lanes[0].trail))
        self.message = "the dream follows reality from here"

    def pause(self) -> None:
        """Stop time, or let it go on."""
        self.clock.paused = not self.clock.paused
        self.message = "paused" if self.clock.paused else ""

    def step_once(self) -> None:
        """Stop time and make one step."""
        self.clock.paused = True
        self.clock.restart()
        if not self.over:
            self._step()

    def rewind(self) -> None:
        """Take back one step of the dream."""
        if self.side == "real" and self._futures is None:
            self.message = "only a dream can be wound back"
            return
        line = self._futures or self._dream
        self.clock.restart()
        self._rested = 0.0
        if not line.rewind():
            self.message = "this is as far back as it goes"
        elif self.history and line is self.lines[0]:
            self.history.pop()

    def save(self) -> None:
        """Keep this moment of the dream."""
        if self.side == "real":
            self.message = "only a dream can be kept"
            return
        self._futures = None
        self._saved = (self.dream, self._dream.keep(), tuple(self.history))
        self.message = "this moment is kept; l returns to it"

    def restore(self) -> None:
        """Return to the moment that was kept."""
        if self._saved is None or self._saved[0] is not self.dream:
            self.message = "no moment of this dream is kept; s keeps one"
            return
        if self.side == "real":
            self.message = "only a dream can return to a moment"
            return
        self._futures = None
        self._dream.restore(self._saved[1])
        if self.side == "dream":
            self._remember(self._saved[2])
        self._rested = 0.0
        self.clock.restart()
        self.message = "back at the kept moment"

    def fork(self) -> None:
        """Show four futures of this moment under the same actions, or return to the moment itself."""
        if self._futures is not None:
            self._futures = None
            self._remember(self._before_futures)
            self.message = "back before the futures"
        elif self.side != "dream":
            self.message = "only a dream has several futures"
        elif self._dream.over:
            self.message = "there is no future: the episode is over"
        else:
            self._before_futures = tuple(self.history)
            self._futures = self._dream.fork(FUTURES, seed=1000 * (self.seed + 1) + len(self._dream.lanes[0].trail))
            self.message = "four futures; 1 to 4 goes on with one, f goes back"

    def _remember(self, reports: Sequence[Report]) -> None:
        self.history.clear()
        self.history.extend(reports)

    def choose(self, number: int) -> None:
        """Go on with one of the futures, counted from 0."""
        if self._futures is not None and 0 <= number < FUTURES:
            self._dream, self._futures = self._futures.only(number, self._dream), None
            self.message = f"this is future {number + 1}"

    def change_variant(self, step: int = 1) -> None:
        """Dream on in another variant of the model, from the beginning of an episode."""
        names = self.variants
        if len(names) < 2:
            self.message = f"{self.dream.name} has one variant"
            return
        now = names.index(self.variant) if self.variant in names else 0
        temperature, before = self.temperature, self.variant
        self.close()
        try:
            self._open(names[(now + step) % len(names)], temperature)
        except DreamgymError as error:  # a policy's file fits one variant only
            self._open(before, temperature)
            self.message = str(error)
        self.reset(self.seed)
        self.message = self.message or f"variant {self.variant}"

    def close(self) -> None:
        """Hand in what is being played, and let go of everything."""
        for line in (self._dream, self._real):
            if line is not None:
                line.leave()
                line.lanes = []
                line.world.close()
        self._real = self._futures = None
