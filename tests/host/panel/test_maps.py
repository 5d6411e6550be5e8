"""The map of a model, in a process of its own."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from timbrel.host.panel.maps import map_of
from timbrel.host.shelf import shipped_models


def test_a_model_that_lies_nowhere_has_the_map_of_its_file(tmp_path):
    model = shipped_models()["gm-chroma-8"]
    gone = tmp_path / "gone.onnx"

    async def maps():
        return await map_of(model, None), await map_of(gone, model.read_bytes()), await map_of(gone, None)

    with ThreadPoolExecutor() as pool:  # the loop of a browser's tests may run on this thread
        of_file, of_bytes, of_none = pool.submit(lambda: asyncio.run(maps())).result()
    assert of_file is not None
    assert of_bytes == of_file
    assert of_none is None
