"""Descriptors of gan, logistic-gan, dcgan and halves."""

from ...batches.clips import check_clips, clip_data, describe, with_words
from ...gan_health import health
from ...preview import held_clips, held_reconstructions
from ..family import Family
from .dcgan import DCGAN, Halves
from .logistic_gan import LogisticGAN
from .wavegan import WaveGAN

FAMILIES = {
    "gan": Family(WaveGAN, check_clips, clip_data, held_clips, complete=with_words, health=health, describe=describe),
    "logistic-gan": Family(
        LogisticGAN, check_clips, clip_data, held_clips, complete=with_words, health=health, describe=describe
    ),
    "dcgan": Family(DCGAN, check_clips, clip_data, held_clips, health=health, describe=describe),
    "halves": Family(Halves, check_clips, clip_data, held_reconstructions, describe=describe),
}
