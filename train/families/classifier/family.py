"""Descriptor of the classifier family."""

from ..family import Family
from .batches import check_labelled, labelled_data, named
from .network import Classifier

FAMILIES = {
    "classifier": Family(Classifier, check_labelled, labelled_data, None, complete=named),
}
