"""Writes the files of `timbrel export`: ONNX models and nn~ files."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from ...host.commands.options import opened_model
from ...host.contract.encoder import encoder_path
from ...host.contract.model import Model
from ...host.errors import UserError
from ...train.run import Run
from ..export import LabelInput, export
from ..onnx import Weights
from .write import check_name, write


def written(
    source: str,
    output: Path | None,
    nn: Path | None,
    *,
    labels: LabelInput,
    which: Literal["best", "last"],
    weights: Weights,
    overwrite: bool,
) -> Iterator[str]:
    """Write the requested files; yield a message after each.

    Args:
        source: a run folder; for ``nn`` alone also a folder of `make`, or a model for `find_model`.

    Raises:
        UserError, Failure: as `export` and `write`; or a model lacks a file.
    """
    if output is None and nn is None:
        raise UserError(f"nothing to write of {source}: give -o MODEL.onnx, --nn MODEL.ts, or both")
    if nn is not None:
        check_name(nn, overwrite)
    made = Path(source) / "model.onnx"  # in a folder of `make`
    if nn is not None and (made.is_file() or not Path(source).is_dir()):
        if output is not None:
            raise UserError(f"-o {output} is written of a run, and {source} is no run folder; leave -o out")
        if labels != LabelInput():
            raise UserError(f"{source} is a model whose card says what it is; words for the card go with a run")
        yield _for_nn(opened_model(str(made) if made.is_file() else source), nn, overwrite)
        return
    with tempfile.TemporaryDirectory() as aside:
        path = output or Path(aside) / f"{nn.stem if nn else ''}.onnx"
        card = export(Run.open(Path(source)), path, labels=labels, which=which, weights=weights, overwrite=overwrite)
        if output is not None:
            yield f"{output}: {len(card.latents)} latents, within {card.parity.relative:.1e} of torch"
            if encoder_path(output).exists():
                yield f"{encoder_path(output)}: its encoder"
        if nn is not None:
            yield _for_nn(Model(path), nn, overwrite)


def _for_nn(model: Model, path: Path, overwrite: bool) -> str:
    write(model, path, overwrite)
    return f"{path}: for nn~ in Max and Pd, {len(model.card.latents)} latents, a pitch and a level as signals"
