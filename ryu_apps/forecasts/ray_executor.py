"""An executor over Ray, so that what runs on a process pool runs on a cluster too."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Future, InvalidStateError
from concurrent.futures import Executor as Base
from concurrent.futures import wait as wait_for
from contextlib import suppress
from typing import Any, ParamSpec, TypeVar

from forecasting import ForecastingError

P = ParamSpec("P")
T = TypeVar("T")

_REMEDY = "it comes with: pip install 'lockstitch[ray]'"

# How often a wait looks whether Ray is still there: when it goes, nobody tells those who wait.
_LOOK_S = 1.0


class RayUnavailable(ForecastingError):
    """Ray is not installed, or not initialised."""


class RayExecutor(Base):
    """Runs calls as tasks of the Ray that `ray.init()` joined or started, which it neither starts nor ends.

    Calls, arguments and results go as pickles, as with a process pool: what works on one works on the other, and
    arrays can be written to. The project must be installed on every node. A task whose worker died is tried
    `retries` times more, by Ray, on another one; after that its future raises BrokenExecutor, and others go on.
    Raises RayUnavailable.
    """

    def __init__(self, *, cpus_a_task: float = 1.0, retries: int = 2) -> None:
        self._ray = _ray()
        if not self._ray.is_initialized():
            raise RayUnavailable("Ray is not initialised; call ray.init() first, with the address of the cluster")
        self._task = self._ray.remote(num_cpus=cpus_a_task, max_retries=retries)(_run)
        self._pending: dict[Future[Any], Any] = {}
        self._closed = False

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Start `fn(*args, **kwargs)` somewhere; raises RuntimeError after shutdown, and what pickle raises."""
        if self._closed:
            raise RuntimeError("cannot schedule new futures after shutdown")
        future: Future[T] = Future()
        reference = self._task.remote(pickle.dumps((fn, args, kwargs), pickle.HIGHEST_PROTOCOL))
        self._pending[future] = reference
        future.add_done_callback(self._forget)
        reference.future().add_done_callback(lambda done: self._settle(future, done))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls; `wait` for those there are, or cancel those that have not ended. Ray stays."""
        self._closed = True
        if cancel_futures:
            for future in list(self._pending):
                future.cancel()
        while wait and self._pending:
            wait_for(list(self._pending), timeout=_LOOK_S)
            if not self._ray.is_initialized():
                for future in list(self._pending):
                    _fail(future, BrokenExecutor("Ray was shut down before the task had ended"))

    def _settle(self, future: Future[Any], done: Future[Any]) -> None:
        """Hand on what became of a task; runs in the thread that Ray calls back in."""
        try:
            answer = pickle.loads(done.result())  # noqa: S301  # from our own worker, as with a process pool
        except self._ray.exceptions.RayTaskError as error:
            cause = error.cause
            _fail(future, cause if isinstance(cause, BaseException) else error)
        except self._ray.exceptions.RayError as error:
            _fail(future, BrokenExecutor(f"a Ray worker died or was lost, and so were its replacements: {error}"))
        except Exception as error:  # noqa: BLE001  # whoever waits must hear of it, whatever it is
            _fail(future, error)
        else:
            if not future.done():
                _quietly(future.set_result, answer)

    def _forget(self, future: Future[Any]) -> None:
        """Let go of a task that has ended, so that Ray can free its result; of one cancelled, end it too."""
        reference = self._pending.pop(future, None)
        if future.cancelled() and reference is not None and self._ray.is_initialized():
            # By force: a fit is minutes in C, which no interrupt reaches, and Ray loses one now and then.
            self._ray.cancel(reference, force=True)


def _run(call: bytes) -> bytes:
    """Make the call, in a worker."""
    fn, args, kwargs = pickle.loads(call)  # noqa: S301  # from the executor that started this worker
    return pickle.dumps(fn(*args, **kwargs), pickle.HIGHEST_PROTOCOL)


def _fail(future: Future[Any], error: BaseException) -> None:
    if not future.done():
        _quietly(future.set_exception, error)


def _quietly(settle: Callable[[Any], None], what: Any) -> None:
    """Settle a future that may have been cancelled a moment ago."""
    with suppress(InvalidStateError):
        settle(what)


def _ray() -> Any:
    try:
        # Only who has a cluster needs it; the package is large.
        import ray
        import ray.exceptions
    except ImportError as error:
        raise RayUnavailable(f"Ray cannot be imported ({error}); {_REMEDY}") from error
    return ray
