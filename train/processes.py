"""Processes of torchrun or Slurm: they agree on errors, and one speaks."""

import atexit
import contextlib
import os
import socket
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import torch
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment

from ..host.errors import Failure, TimbrelError

LOST = ("closed by peer", "connection reset", "broken pipe", "timed out waiting")  # in messages of lost peers
Result = TypeVar("Result")


def launched() -> bool:
    return TorchElasticEnvironment.detect() or SLURMEnvironment.detect()


def processes() -> int:
    return int(os.environ.get("WORLD_SIZE", os.environ.get("SLURM_NTASKS", "1")))


def is_first() -> bool:
    return not launched() or int(os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0"))) == 0


@contextlib.contextmanager
def one_voice() -> Iterator[None]:
    """Only the first process shows a message; a lost peer becomes `Failure`."""
    try:
        yield
    except BaseException as error:
        if launched() and not (isinstance(error, SystemExit) and not error.code):
            # Others wait for this process in a collective, and the end of Python would wait for them.
            atexit.register(os._exit, getattr(error, "exit_status", 1))
        _translate(error)
        raise


def _translate(error: BaseException) -> None:
    if isinstance(error, TimbrelError) and not is_first():
        raise SystemExit(error.exit_status) from None
    if isinstance(error, RuntimeError) and any(word in str(error).casefold() for word in LOST):
        if not is_first():
            raise SystemExit(Failure.exit_status) from None
        raise Failure("another process of this training ended; start all again with --resume") from None


def together(work: Callable[[], Result], first_alone: bool = False) -> Result | None:
    """Work in all processes, or in the first one; raise the first error in all.

    Returns:
        The work's result; None where only the first one works.
    """
    result, error = None, None
    try:
        if is_first() or not first_alone:
            result = work()
    except TimbrelError as raised:
        error = raised
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        errors: list[Any] = [None] * torch.distributed.get_world_size()
        torch.distributed.all_gather_object(errors, _plain(error))
        failed = next((rank for rank, rank_error in enumerate(errors) if rank_error is not None), None)
        if failed is not None:
            kind, lines, host = errors[failed]
            raise kind(*(lines if failed == 0 else (f"process {failed} on {host}: {line}" for line in lines)))
    if error is not None:
        raise error
    return result


def _plain(error: TimbrelError | None) -> tuple[type[TimbrelError], tuple[Any, ...], str] | None:
    return None if error is None else (type(error), error.args, socket.gethostname())
