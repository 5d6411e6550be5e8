"""Tasks in other processes or in a Ray cluster, in their order; cores that other processes leave idle."""

import contextlib
import importlib
import logging
import math
import multiprocessing
import multiprocessing.connection
import os
import signal
import socket
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, TypeVar

import psutil

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
        host, colon, port = cluster_address.rpartition(":")
        if not colon:
            raise ValueError("an address is HOST:PORT, or auto")
        socket.create_connection((host, int(port)), timeout=CONNECTING_SECONDS).close()  # Ray tries for ten minutes
        old_handler = signal.getsignal(signal.SIGTERM)
        ray.init(address=cluster_address, log_to_driver=False, logging_level=logging.ERROR)
        if threading.current_thread() is threading.main_thread():  # Ray's own handler would end without cleaning up
            signal.signal(signal.SIGTERM, old_handler)
    except (OSError, ValueError, OverflowError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or first_line(error)
        raise UserError(
            f"no Ray cluster answers at {address!r} ({reason}); start one with 'ray start --head'"
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
        with _cluster(work, ray, resume_hint) as run:
            yield run
    elif workers > 1:
        with _processes(work, workers, resume_hint) as run:
            yield run
    else:
        yield lambda tasks: map(work, tasks)


def _in_order(
    tasks: Iterable[Task], queue_length: int, submit: Callable[[Task], Any], result: Callable[[Any], Result]
) -> Iterator[Result]:
    waiting: deque[Any] = deque()
    for task in tasks:
        waiting.append(submit(task))
        if len(waiting) > queue_length:
            yield result(waiting.popleft())
    while waiting:
        yield result(waiting.popleft())


@contextlib.contextmanager
def _processes(
    work: Callable[[Task], Result], workers: int, resume_hint: str
) -> Iterator[Callable[[Iterable[Task]], Iterator[Result]]]:
    context = multiprocessing.get_context("spawn")  # ONNX Runtime's threads do not survive a fork
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin)
    try:
        yield lambda tasks: _in_order(
            tasks, TASKS_AHEAD * workers, lambda task: pool.submit(work, task), lambda future: future.result()
        )
    except BrokenProcessPool:
        raise Failure(
            f"a worker died, perhaps for lack of memory; {resume_hint}, with fewer workers (a script needs "
            'if __name__ == "__main__": around its beginning)'
        ) from None
    except BaseException:
        for process in [*pool._processes.values()]:  # they would finish their tasks first
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _begin() -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    for number in SIGNALS:  # the terminal sends them to all; the first process ends the others, by SIGTERM
        signal.signal(number, signal.SIG_DFL if number == signal.SIGTERM else signal.SIG_IGN)


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
    ray = connect(address)
    on_node = ray.remote(num_cpus=1, max_retries=RETRIES)(_work_on_node)

    def result(future: Any) -> Any:
        try:
            task_result, fault = ray.get(future)
        except ray.exceptions.RayError as error:
            raise Failure(f"the Ray cluster failed: {first_line(error)}; {resume_hint}") from None
        if fault is not None:
            raise fault
        return task_result

    try:
        processors = max(1, int(ray.cluster_resources().get("CPU", 1)))
        yield lambda tasks: _in_order(tasks, TASKS_AHEAD * processors, lambda task: on_node.remote(work, task), result)
    finally:
        ray.shutdown()


def _work_on_node(work: Callable[[Task], Result], task: Task) -> tuple[Result | None, TimbrelError | None]:
    """Errors as values: Ray would wrap them in its own."""
    try:
        return work(task), None
    except TimbrelError as error:
        return None, type(error)(*on_this_machine(error))


SLACK = 0.25  # of a core: constant load of an idle desktop's programs
GLANCE_SECONDS = 0.1  # ten ticks of most systems: a busy process uses nine of them or more


def processors_worked() -> Callable[[], float]:
    """A function that totals our cores' busy seconds, without time stolen by a VM host."""
    allowed = _allowed()

    def worked() -> float:
        times = psutil.cpu_times(percpu=True)
        return sum(_worked(times[number]) for number in allowed if number < len(times))

    return worked


def free_processors() -> int:
    """This process's idle cores, at least one; sleeps for `GLANCE_SECONDS`."""
    worked = processors_worked()
    start_seconds, busy_at_start = time.perf_counter(), worked()
    time.sleep(GLANCE_SECONDS)
    busy_cores = (worked() - busy_at_start) / (time.perf_counter() - start_seconds)
    return max(1, math.floor(len(_allowed()) - busy_cores + SLACK))


def _allowed() -> list[int]:
    process = psutil.Process()
    if hasattr(process, "cpu_affinity"):
        return list(process.cpu_affinity())
    return list(range(psutil.cpu_count() or 1))


def _worked(times: object) -> float:
    return sum(getattr(times, kind, 0.0) for kind in ("user", "nice", "system", "irq", "softirq"))
