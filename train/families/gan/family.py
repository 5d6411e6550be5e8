"""Descriptors of gan, logistic-gan, dcgan and halves."""

from ...batches.clip_selection import with_words
from ...gan_health import health
from ...preview import Preview
from ..family import Family
from .batches import check_clips, clip_data, describe
from .dcgan import DCGAN, Halves
from .logistic_gan import LogisticGAN
from .preview import held_clips, held_reconstructions
from .wavegan import WaveGAN

CLIPS = Preview(held_clips, pictured=True)

FAMILIES = {
    "gan": Family(WaveGAN, check_clips, clip_data, CLIPS, complete=with_words, health=health, describe=describe),
    "logistic-gan": Family(
        LogisticGAN, check_clips, clip_data, CLIPS, complete=with_words, health=health, describe=describe
    ),
    "dcgan": Family(DCGAN, check_clips, clip_data, CLIPS, health=health, describe=describe),
    "halves": Family(Halves, check_clips, clip_data, Preview(held_reconstructions, pictured=True), describe=describe),
}
