"""Extras: names the extra of timbrel that installs a missing package."""

import contextlib
from collections.abc import Iterator

from .errors import UserError

# The modules that each extra installs, the smallest extra first.
MODULES = {
    "live": ("sounddevice", "rtmixer", "rtmidi", "jack"),
    "panel": ("starlette", "uvicorn", "websockets", "msgspec", "segno"),
    "picture": ("matplotlib",),
    "phone": ("av",),
    "hub": ("huggingface_hub",),
    "scale": ("ray",),
    "train": (
        "torch", "onnx", "onnxscript", "lightning_fabric", "tensorboard", "jinja2", "librosa", "sklearn", "soxr",
        "pyloudnorm", "scipy", "mido",
    ),
}  # fmt: skip


def how_to_install(module: str) -> str:
    """Return a line that names the extra of ``module``; modules of no extra come with timbrel itself."""
    package = module.partition(".")[0]
    extra = next((f"[{extra}]" for extra, modules in MODULES.items() if package in modules), "")
    return f"{package} is not installed; install it with: pip install 'timbrel{extra}'"


@contextlib.contextmanager
def naming_extras() -> Iterator[None]:
    """Turn the error of a missing package into the line that says how to install it.

    Raises:
        UserError: a package is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise UserError(how_to_install(str(error.name))) from error
