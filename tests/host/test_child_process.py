"""Processes of ours start without the main module, and leave the starts of others as they are."""

import multiprocessing
from multiprocessing import spawn

import pytest
from timbrel.host.child_process import ChildProcess, FreshContext

from ..patience import PATIENCE_SECONDS


def answer(pipe, *words):
    pipe.send(words)


def test_a_function_runs_with_its_arguments_and_its_process_ends():
    child = ChildProcess(answer, 1, "two", name="a test")
    assert child.pipe.poll(PATIENCE_SECONDS)
    assert child.pipe.recv() == (1, "two")
    child.end(PATIENCE_SECONDS)
    with pytest.raises(ValueError, match="closed"):
        child.process.is_alive()


@pytest.mark.parametrize("target", [answer, lambda pipe: None])
def test_a_start_leaves_the_preparation_of_other_processes_alone_though_it_fails(target):
    prepare = spawn.get_preparation_data
    near, far = multiprocessing.Pipe()
    process = FreshContext().Process(target=target, args=(far,))
    if target is answer:
        process.start()
        process.join()
    else:
        with pytest.raises(Exception, match="pickle"):
            process.start()
    assert spawn.get_preparation_data is prepare
    near.close()
