"""Makes tests/train/wavegan.npz: a small generator of WaveGAN's layout, and its clips by TensorFlow's own layers.

    python tests/train/wavegan_fixture.py    # needs tensorflow, which no test needs

Variables have the names of the published checkpoints, random values, and size 1 with five latents. ``clips`` are of
``codes``; ``filtered`` are the first clip under a filter of even length. ``layer-STRIDE-input``, ``-kernel`` and
``-output`` are one layer's. With --checkpoint FOLDER the variables are also saved as a TensorFlow checkpoint.
"""

import argparse
import itertools
from pathlib import Path

import numpy as np
import tensorflow as tf

LATENTS, SAMPLES, FILTER = 5, 16384, 32
WIDTHS = [16, 8, 4, 2, 1, 1]


def variables():
    """Variables by name, drawn so that clips are neither silent nor clipped."""
    rng = np.random.default_rng(0)
    drawn = {
        "G/z_project/dense/kernel": rng.standard_normal((LATENTS, 16 * WIDTHS[0])) / LATENTS**0.5,
        "G/z_project/dense/bias": 0.1 * rng.standard_normal(16 * WIDTHS[0]),
        "G/pp_filt/conv1d/kernel": rng.standard_normal((FILTER, 1, 1)) / FILTER**0.5,
    }
    for layer, (width, next_width) in enumerate(itertools.pairwise(WIDTHS)):
        kernel = rng.standard_normal((1, 25, next_width, width)) / (6 * width / 2) ** 0.5
        drawn[f"G/upconv_{layer}/conv2d_transpose/kernel"] = kernel
        drawn[f"G/upconv_{layer}/conv2d_transpose/bias"] = 0.1 * rng.standard_normal(next_width)
    return {name: value.astype(np.float32) for name, value in drawn.items()}


def transposed(signal, kernel, stride):
    """A layer, [batch, samples, channels], as the published code calls it."""
    batch, samples, _ = signal.shape
    shape = [batch, 1, samples * stride, kernel.shape[2]]
    return tf.nn.conv2d_transpose(signal[:, None], kernel, shape, strides=[1, 1, stride, 1], padding="SAME")[:, 0]


def clips(drawn, codes):
    signal = codes @ drawn["G/z_project/dense/kernel"] + drawn["G/z_project/dense/bias"]
    signal = tf.reshape(signal, [len(codes), 16, WIDTHS[0]])
    for layer in range(len(WIDTHS) - 1):
        name = f"G/upconv_{layer}/conv2d_transpose"
        signal = transposed(tf.nn.relu(signal), drawn[f"{name}/kernel"], 4) + drawn[f"{name}/bias"]
    return tf.tanh(signal)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path)
    options = parser.parse_args()
    drawn, rng = variables(), np.random.default_rng(1)
    codes = rng.uniform(-1, 1, (2, LATENTS)).astype(np.float32)
    made = clips(drawn, codes)
    filtered = tf.nn.conv1d(made[:1], drawn["G/pp_filt/conv1d/kernel"], stride=1, padding="SAME")
    stored = {**drawn, "codes": codes, "clips": made[:, :, 0].numpy(), "filtered": filtered[:, :, 0].numpy()}
    for stride in (2, 4):
        signal = rng.standard_normal((2, 7, 3)).astype(np.float32)
        kernel = rng.standard_normal((1, 25, 2, 3)).astype(np.float32)
        stored[f"layer-{stride}-input"], stored[f"layer-{stride}-kernel"] = signal, kernel
        stored[f"layer-{stride}-output"] = transposed(signal, kernel, stride).numpy()
    np.savez_compressed(Path(__file__).with_name("wavegan.npz"), **stored)
    if options.checkpoint is not None:
        graph = tf.Graph()
        with graph.as_default():
            one = {name: tf.compat.v1.get_variable(name, initializer=value) for name, value in drawn.items()}
            tf.compat.v1.get_variable("D/output/dense/bias", initializer=np.zeros(1, np.float32))
            tf.compat.v1.get_variable("G/z_project/dense/kernel/Adam", initializer=drawn["G/z_project/dense/kernel"])
            tf.compat.v1.train.get_or_create_global_step()
            with tf.compat.v1.Session() as session:
                session.run(tf.compat.v1.global_variables_initializer())
                tf.compat.v1.train.Saver().save(session, str(options.checkpoint / "model.ckpt"), global_step=3)
        assert len(one) == len(drawn)


if __name__ == "__main__":
    main()
