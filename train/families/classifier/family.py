"""Descriptor of the classifier family."""

from ...data import with_words
from ..family import Family
from .network import Classifier, check_labelled, labelled_data

FAMILIES = {
    "classifier": Family(Classifier, check_labelled, labelled_data, None, complete=with_words),
}
