"""Episodes played by Ray actors, on this machine or all over a cluster, and written by the process that asked."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

from dreamgym.errors import DreamgymError, MissingExtra


class RayPool(Executor):
    """Hands calls to Ray actors, one at a time each, and what they return to `receive`, in this process.

    Without a running cluster Ray starts on this machine; `RAY_ADDRESS` names another, whose machines need dreamgym and
    the real env but share no disk with this one.

    Args:
        num_workers: actors, each with one core of the cluster.
        make_worker: called in each actor once; what it returns is called with what `submit` is given.
        receive: turns what a call returned into the future's result; never runs twice at once.

    Raises:
        MissingExtra: if Ray is not installed.
    """

    def __init__(
        self, num_workers: int, make_worker: Callable[[], Callable[..., Any]], receive: Callable[..., Any]
    ) -> None:
        try:
            import ray
        except ImportError as error:
            raise MissingExtra("collecting with Ray", "ray", "ray") from error
        self._ray, self._receive, self._lock = ray, receive, threading.Lock()
        self._ours = not ray.is_initialized()
        if self._ours:
            ray.init(log_to_driver=False, configure_logging=False)
        threads = {"env_vars": {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}}
        actor = ray.remote(num_cpus=1, runtime_env=threads)(_Actor)
        self._idle = [actor.remote(make_worker) for _ in range(num_workers)]

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Return the future of a call by an idle actor; `fn` is not used: the actors know what they do.

        Raises:
            IndexError: if all actors are at work.
        """
        actor, outer = self._idle.pop(), Future[Any]()

        def done(inner: Future[Any]) -> None:
            try:
                with self._lock:
                    result = self._receive(inner.result(), *args)
            except self._ray.exceptions.RayActorError as error:
                lost = DreamgymError("a Ray actor died; the finished episodes are kept. Run the same command again.")
                lost.__cause__ = error
                outer.set_exception(lost)
            except self._ray.exceptions.RayTaskError as error:
                outer.set_exception(error.cause)  # what the env or driver raised
            except BaseException as error:
                outer.set_exception(error)
            else:
                self._idle.append(actor)
                outer.set_result(result)

        actor.call.remote(*args, **kwargs).future().add_done_callback(done)
        return outer

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Give the actors back; those of a Ray that was started here end with it."""
        self._idle.clear()
        if self._ours:
            self._ray.shutdown()


class _Actor:
    """Runs in a process of the cluster."""

    def __init__(self, make_worker: Callable[[], Callable[..., Any]]) -> None:
        self._work = make_worker()

    def call(self, *args: Any, **kwargs: Any) -> Any:
        return self._work(*args, **kwargs)
