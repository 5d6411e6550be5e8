"""Renders batches in this process, in others of this machine, or in a Ray cluster; all give the same bytes."""

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from ...host.errors import Failure, TimbrelError
from ...host.interrupts import SIGNALS
from ...host.ray_cluster import RETRIES, connect, first_line, on_this_machine
from .batches import Job, Member, render_batch

AHEAD = 2  # batches a worker, rendered before they are written
BEGIN = "run 'timbrel dataset' again to go on"

Batches = Iterator[list[Member]]


@contextlib.contextmanager
def renderer(job: Job, workers: int, ray: str | None) -> Iterator[Callable[[Sequence[int]], Batches]]:
    """Yield a function that renders batches by number, in their order.

    Raises:
        UserError: Ray is missing, or its cluster is not there.
        Failure: a worker died.
    """
    if ray is not None:
        with _cluster(job, ray) as render:
            yield render
    elif workers > 1:
        with _processes(job, workers) as render:
            yield render
    else:
        yield lambda numbers: (render_batch(job, number) for number in numbers)


def _in_order(
    numbers: Sequence[int], ahead: int, submit: Callable[[int], Any], result: Callable[[Any], list[Member]]
) -> Batches:
    waiting: deque[Any] = deque()
    for number in numbers:
        waiting.append(submit(number))
        if len(waiting) > ahead:
            yield result(waiting.popleft())
    while waiting:
        yield result(waiting.popleft())


@contextlib.contextmanager
def _processes(job: Job, workers: int) -> Iterator[Callable[[Sequence[int]], Batches]]:
    context = multiprocessing.get_context("spawn")  # ONNX Runtime's threads do not survive a fork
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin)
    try:
        yield lambda numbers: _in_order(
            numbers,
            AHEAD * workers,
            lambda number: pool.submit(render_batch, job, number),
            lambda future: future.result(),
        )
    except BrokenProcessPool:
        raise Failure(f"a worker died, perhaps for lack of memory; {BEGIN}, with fewer workers") from None
    finally:
        pool.shutdown(cancel_futures=True)


def _begin() -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    for number in SIGNALS:  # the terminal sends them to all; the first process ends the others, by SIGTERM
        signal.signal(number, signal.SIG_DFL if number == signal.SIGTERM else signal.SIG_IGN)


def _end_with_parent() -> None:
    """A parent that is killed tells nobody."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)


@contextlib.contextmanager
def _cluster(job: Job, address: str) -> Iterator[Callable[[Sequence[int]], Batches]]:
    ray = connect(address)
    task = ray.remote(num_cpus=1, max_retries=RETRIES)(_render_on_node)

    def result(future: Any) -> list[Member]:
        try:
            members, fault = ray.get(future)
        except ray.exceptions.RayError as error:
            raise Failure(f"the Ray cluster failed: {first_line(error)}; {BEGIN}") from None
        if fault is not None:
            raise fault
        return list(members)

    try:
        processors = max(1, int(ray.cluster_resources().get("CPU", 1)))
        yield lambda numbers: _in_order(numbers, AHEAD * processors, lambda number: task.remote(job, number), result)
    finally:
        ray.shutdown()


def _render_on_node(job: Job, number: int) -> tuple[list[Member], TimbrelError | None]:
    """Return errors for users as values: Ray would wrap them in its own."""
    try:
        return render_batch(job, number), None
    except TimbrelError as error:
        return [], type(error)(*on_this_machine(error))
