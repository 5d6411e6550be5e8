"""Descriptors of gan, logistic-gan, dcgan and halves."""

from ...data import with_words
from ...preview import Preview
from ..family import Family
from .data import check_clips, clip_data, describe, held_clips, held_reconstructions
from .dcgan import DCGAN, Halves
from .health import health
from .wavegan import LogisticGAN, WaveGAN

CLIPS = Preview(held_clips, pictured=True)

FAMILIES = {
    "gan": Family(WaveGAN, check_clips, clip_data, CLIPS, complete=with_words, health=health, describe=describe),
    "logistic-gan": Family(
        LogisticGAN, check_clips, clip_data, CLIPS, complete=with_words, health=health, describe=describe
    ),
    "dcgan": Family(DCGAN, check_clips, clip_data, CLIPS, health=health, describe=describe),
    "halves": Family(Halves, check_clips, clip_data, Preview(held_reconstructions, pictured=True), describe=describe),
}
