"""Does tasks in other processes, or in a Ray cluster; results keep the tasks' order."""

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from .errors import Failure, TimbrelError
from .interrupts import SIGNALS
from .ray_cluster import RETRIES, connect, first_line, on_this_machine

AHEAD = 2  # tasks a worker, done before their results are taken

Task = TypeVar("Task")
Result = TypeVar("Result")


@contextlib.contextmanager
def task_runner(
    work: Callable[[Task], Result], workers: int, ray: str | None, again: str
) -> Iterator[Callable[[Iterable[Task]], Iterator[Result]]]:
    """Yield a function that does ``work`` on tasks, and iterates over results in their order.

    Args:
        work: a module's function, as other processes import it.
        workers: processes; 1 works in this one.
        ray: address of a cluster, in place of processes.
        again: command that resumes after a failure.

    Raises:
        UserError: Ray is missing, or its cluster is not there.
        Failure: a worker died.
    """
    if ray is not None:
        with _cluster(work, ray, again) as run:
            yield run
    elif workers > 1:
        with _processes(work, workers, again) as run:
            yield run
    else:
        yield lambda tasks: map(work, tasks)


def _in_order(
    tasks: Iterable[Task], ahead: int, submit: Callable[[Task], Any], result: Callable[[Any], Result]
) -> Iterator[Result]:
    waiting: deque[Any] = deque()
    for task in tasks:
        waiting.append(submit(task))
        if len(waiting) > ahead:
            yield result(waiting.popleft())
    while waiting:
        yield result(waiting.popleft())


@contextlib.contextmanager
def _processes(
    work: Callable[[Task], Result], workers: int, again: str
) -> Iterator[Callable[[Iterable[Task]], Iterator[Result]]]:
    context = multiprocessing.get_context("spawn")  # ONNX Runtime's threads do not survive a fork
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin)
    try:
        yield lambda tasks: _in_order(
            tasks, AHEAD * workers, lambda task: pool.submit(work, task), lambda future: future.result()
        )
    except BrokenProcessPool:
        raise Failure(
            f"a worker died, perhaps for lack of memory; {again}, with fewer workers (a script needs "
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
    work: Callable[[Task], Result], address: str, again: str
) -> Iterator[Callable[[Iterable[Task]], Iterator[Result]]]:
    ray = connect(address)
    on_node = ray.remote(num_cpus=1, max_retries=RETRIES)(_work_on_node)

    def result(future: Any) -> Any:
        try:
            found, fault = ray.get(future)
        except ray.exceptions.RayError as error:
            raise Failure(f"the Ray cluster failed: {first_line(error)}; {again}") from None
        if fault is not None:
            raise fault
        return found

    try:
        processors = max(1, int(ray.cluster_resources().get("CPU", 1)))
        yield lambda tasks: _in_order(tasks, AHEAD * processors, lambda task: on_node.remote(work, task), result)
    finally:
        ray.shutdown()


def _work_on_node(work: Callable[[Task], Result], task: Task) -> tuple[Result | None, TimbrelError | None]:
    """Errors as values: Ray would wrap them in its own."""
    try:
        return work(task), None
    except TimbrelError as error:
        return None, type(error)(*on_this_machine(error))
