"""Processes of torchrun or Slurm: they agree on errors, and one speaks."""

import atexit
import contextlib
import os
import socket
from collections.abc import Iterator
from typing import Any

import torch
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment

from ..host.errors import Failure, TimbrelError

LOST = ("closed by peer", "connection reset", "broken pipe", "timed out waiting")  # in messages of lost peers


def launched() -> bool:
    """Return whether torchrun or Slurm started this process."""
    return TorchElasticEnvironment.detect() or SLURMEnvironment.detect()


def processes() -> int:
    """Return the number of processes that torchrun or Slurm started."""
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
    """Raise SystemExit or `Failure` in place of an error that another process shows or caused."""
    if isinstance(error, TimbrelError) and not is_first():
        raise SystemExit(error.exit_status) from None
    if isinstance(error, RuntimeError) and any(word in str(error).casefold() for word in LOST):
        if not is_first():
            raise SystemExit(Failure.exit_status) from None
        raise Failure("another process of this training ended; start all again with --resume") from None


@contextlib.contextmanager
def together() -> Iterator[None]:
    """Processes that work alike, or wait for the first one's work, raise the first error in all."""
    error = None
    try:
        yield
    except TimbrelError as raised:
        error = raised
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        rank_errors: list[Any] = [None] * torch.distributed.get_world_size()
        torch.distributed.all_gather_object(rank_errors, _plain(error))
        failed_rank = next((rank for rank, rank_error in enumerate(rank_errors) if rank_error is not None), None)
        if failed_rank is not None:
            error_class, error_lines, host_name = rank_errors[failed_rank]
            raise error_class(
                *(
                    error_lines
                    if failed_rank == 0
                    else (f"process {failed_rank} on {host_name}: {line}" for line in error_lines)
                )
            )
    if error is not None:
        raise error


def _plain(error: TimbrelError | None) -> tuple[type[TimbrelError], tuple[Any, ...], str] | None:
    """Return an error's class, arguments and host, which can be pickled."""
    return None if error is None else (type(error), error.args, socket.gethostname())
