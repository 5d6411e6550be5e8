"""Tasks in other processes or in a Ray cluster, in their order."""

import contextlib
import importlib
import logging
import multiprocessing
import multiprocessing.connection
import os
import signal
import socket
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, TypeVar

from .child_process import FreshContext
from .errors import Failure, TimbrelError, UserError
from .interrupts import SIGNALS

CONNECTING_SECONDS = 5.0
ROOT = 0  # user number
RETRIES = 3  # of a task whose machine or process dies


def connect(address: str) -> Any:
    """The module ray, connected; call its `shutdown` in the end.

    Raises:
        UserError: Ray is missing, or no cluster is at ``address``, HOST:PORT or auto.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        ray = importlib.import_module("ray")
    except ImportError:
        raise UserError("--ray needs Ray; install it with: pip install 'timbrel[scale]'") from None
    try:
        cluster_address = current_address() if address == "auto" else address
        host, separator, port = cluster_address.rpartition(":")
        if not separator:
            raise ValueError("an address is HOST:PORT, or auto")
        socket.create_connection((host, int(port)), timeout=CONNECTING_SECONDS).close()  # Ray tries for ten minutes
        old_handler = signal.getsignal(signal.SIGTERM)
        ray.init(address=cluster_address, log_to_driver=False, logging_level=logging.ERROR)
        if threading.current_thread() is threading.main_thread():  # Ray's own handler would end without cleaning up
            signal.signal(signal.SIGTERM, old_handler)
    except (OSError, ValueError, OverflowError, RuntimeError) as error:
        reason_text = getattr(error, "strerror", None) or first_line(error)
        raise UserError(
            f"no Ray cluster answers at {address!r} ({reason_text}); start one with 'ray start --head'"
        ) from None
    return ray


def current_address() -> str:
    """Address of the cluster that Ray last started here; ValueError if it is none, or another user's."""
    # the file in which Ray itself looks for it
    if "RAY_ADDRESS" in os.environ:
        return os.environ["RAY_ADDRESS"]
    file = Path(os.environ.get("RAY_TMPDIR", tempfile.gettempdir()), "ray", "ray_current_cluster")
    try:
        if sys.platform != "win32" and file.lstat().st_uid not in (os.getuid(), ROOT):  # all may write into that folder
            raise ValueError(f"{file} is another user's; give HOST:PORT if you trust that cluster")
        return file.read_text(encoding="utf-8").strip()
    except OSError:
        raise ValueError("none was started on this machine") from None


def first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


def on_this_machine(error: Exception) -> list[str]:
    """An error's lines with this machine's name."""
    return [f"{socket.gethostname()}: {line}" for line in error.args]


TASKS_AHEAD = 2  # tasks a worker, done before their results are taken

Task = TypeVar("Task")
Result = TypeVar("Result")


@contextlib.contextmanager
def task_runner(
    work: Callable[[Task], Result], workers: int, ray: str | None, resume_hint: str
) -> Iterator[Callable[[Iterable[Task]], Iterator[Result]]]:
    """Yield a function that does ``work`` on tasks, and iterates over results in their order.

    Args:
        work: a module's function, as other processes import it.
        workers: processes; 1 works in this one.
        ray: address of a cluster, in place of processes.
        resume_hint: command that resumes after a failure.

    Raises:
        UserError: Ray is missing, or its cluster is not there.
        Failure: a worker died.
    """
    if ray is not None:
        with _cluster(work, ray, resume_hint) as run_tasks:
            yield run_tasks
    elif workers > 1:
        with _processes(work, workers, resume_hint) as run_tasks:
            yield run_tasks
    else:
        yield lambda tasks: map(work, tasks)


def _in_order(
    tasks: Iterable[Task], queue_length: int, submit: Callable[[Task], Any], take_result: Callable[[Any], Result]
) -> Iterator[Result]:
    """Yield results in the order of tasks, with so many more of them submitted."""
    pending: deque[Any] = deque()
    for task in tasks:
        pending.append(submit(task))
        if len(pending) > queue_length:
            yield take_result(pending.popleft())
    while pending:
        yield take_result(pending.popleft())


@contextlib.contextmanager
def _processes(
    work: Callable[[Task], Result], workers: int, resume_hint: str
) -> Iterator[Callable[[Iterable[Task]], Iterator[Result]]]:
    """Yield a function that runs tasks in processes of this machine."""
    executor = ProcessPoolExecutor(workers, mp_context=FreshContext(), initializer=_begin)
    try:
        yield lambda tasks: _in_order(
            tasks, TASKS_AHEAD * workers, lambda task: executor.submit(work, task), lambda future: future.result()
        )
    except BrokenProcessPool:
        raise Failure(f"a worker died, perhaps for lack of memory; {resume_hint}, with fewer workers") from None
    except BaseException:
        for process in [*executor._processes.values()]:  # they would finish their tasks first
            process.terminate()
        raise
    finally:
        executor.shutdown(cancel_futures=True)


def _begin() -> None:
    """Set a worker process up: it ends with its parent, and heeds SIGTERM alone."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    for signal_number in SIGNALS:  # the terminal sends them to all; the first process ends the others, by SIGTERM
        signal.signal(signal_number, signal.SIG_DFL if signal_number == signal.SIGTERM else signal.SIG_IGN)


def _end_with_parent() -> None:
    """A killed parent sends nothing."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)


@contextlib.contextmanager
def _cluster(
    work: Callable[[Task], Result], address: str, resume_hint: str
) -> Iterator[Callable[[Iterable[Task]], Iterator[Result]]]:
    """Yield a function that runs tasks in a Ray cluster."""
    ray = connect(address)
    remote_work = ray.remote(num_cpus=1, max_retries=RETRIES)(_work_on_node)

    def take_result(future: Any) -> Any:
        try:
            task_result, task_error = ray.get(future)
        except ray.exceptions.RayError as error:
            raise Failure(f"the Ray cluster failed: {first_line(error)}; {resume_hint}") from None
        if task_error is not None:
            raise task_error
        return task_result

    try:
        core_count = max(1, int(ray.cluster_resources().get("CPU", 1)))
        yield lambda tasks: _in_order(
            tasks, TASKS_AHEAD * core_count, lambda task: remote_work.remote(work, task), take_result
        )
    finally:
        ray.shutdown()


def _work_on_node(work: Callable[[Task], Result], task: Task) -> tuple[Result | None, TimbrelError | None]:
    """Errors as values: Ray would wrap them in its own."""
    try:
        return work(task), None
    except TimbrelError as error:
        return None, type(error)(*on_this_machine(error))
