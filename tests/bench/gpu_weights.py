"""Weights of a GPU beside those of a processor after 20 steps, and of steps replayed as CUDA graphs beside plain ones.

A figure is the distance of all weights, as a share of the distance that the steps moved them. Adam magnifies the
rounding of slopes near 0: on one processor, two orders of the same sums differ by a few hundredths
(`tests/train/test_strided_convolution.py` allows .05).
"""

import contextlib
import tempfile
from pathlib import Path

import torch
from timbrel.train import checkpoint
from timbrel.train.families.recipes import load_recipe
from timbrel.train.launch import start
from timbrel.train.loop import RunOptions
from timbrel.train.run import Run
from training import corpus

STEPS = 20
CLIPS = ("frames.sample_rate=44100", "frames.frame_length=8192", "frames.hop_length=8192", "network.model_size=8")
RECIPES: dict[str, tuple[str, ...]] = {
    "chroma-8": (),
    "chroma-8-vae": (),
    "tuned-8": (),
    "tuned-partials": (),
    "clip-wavegan": (*CLIPS, "training.batch_size=16"),
}
LOOPS = {  # accelerator, and changes of the recipe
    "processor": ("cpu", ()),
    "GPU": ("cuda", ()),
    "graphs": ("cuda", ("training.cuda_graphs=true",)),
    "tf32": ("cuda", ("training.precision=tf32",)),
}


def weights_of(name: str, loop: str, sounds: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Return all weights before the first step and after the last one."""
    first: list[torch.Tensor] = []
    accelerator, changes = LOOPS[loop]
    options = RunOptions(accelerator, on_initialised=lambda run, network: first.append(flat(network.state_dict())))
    recipe = load_recipe(name, [f"training.steps={STEPS}", *RECIPES[name], *changes])
    folder = sounds.parent / f"{name}-{loop}"
    start(recipe, sounds, folder, options)
    return first[0], flat(checkpoint.load(Run.open(folder).last)["model"])


def flat(state: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.cat([weights.detach().double().flatten().cpu() for weights in state.values()])


def main() -> None:
    print(f"{torch.cuda.get_device_name()}, {STEPS} steps")
    with tempfile.TemporaryDirectory() as name, contextlib.chdir(name):
        sounds = corpus(Path(name))
        for recipe in RECIPES:
            weights = {loop: weights_of(recipe, loop, sounds) for loop in LOOPS}
            first, last = weights["processor"]
            moved = (last - first).norm()
            pairs = (("GPU", "processor"), ("graphs", "GPU"), ("tf32", "processor"))
            figures = [f"{a} from {b} {(weights[a][1] - weights[b][1]).norm() / moved:.1e}" for a, b in pairs]
            print(f"{recipe:<16}{'   '.join(figures)}", flush=True)


if __name__ == "__main__":
    main()
