"""Descriptor of the classifier family."""

from ...batches.clip_selection import with_words
from ..family import Family
from .batches import check_labelled, labelled_data
from .network import Classifier

FAMILIES = {
    "classifier": Family(Classifier, check_labelled, labelled_data, None, complete=with_words),
}
