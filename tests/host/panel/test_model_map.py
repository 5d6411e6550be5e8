"""The map of a model, in a process of its own."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest
from timbrel.host.errors import Failure
from timbrel.host.panel.devices import MapProcess
from timbrel.host.preset.shipped import shipped_models


def test_a_model_that_lies_nowhere_has_the_map_of_its_file(tmp_path):
    model = shipped_models()["gm-chroma-8"]
    gone = tmp_path / "gone.onnx"

    async def maps():
        given = (model, None), (gone, model.read_bytes()), (gone, None)
        return [await MapProcess(*each).receive_map() for each in given]

    with ThreadPoolExecutor() as pool:  # the loop of a browser's tests may run on this thread
        of_file, of_bytes, of_none = pool.submit(lambda: asyncio.run(maps())).result()
    assert of_file is not None
    assert of_bytes == of_file
    assert of_none is None


def test_a_map_that_is_stopped_says_so():
    async def stopped():
        making = MapProcess(shipped_models()["gm-chroma-8"], None)
        making.stop()
        return await making.receive_map()

    with ThreadPoolExecutor() as pool, pytest.raises(Failure, match="its process ended with -9"):
        pool.submit(lambda: asyncio.run(stopped())).result()
