"""Base class of network families for export, for the commands export, evaluate and make."""

from abc import ABC, abstractmethod
from typing import ClassVar, Generic, TypeVar

from ...host.model.model import Model
from ...host.preset.preset import Preset
from ...train.corpus.store import Corpus
from ...train.network import Network
from ...train.recipe import Recipe
from ..graphs import Graphs
from ..reports.report import Report, ReportRequest

RecipeT = TypeVar("RecipeT", bound=Recipe)
NetworkT = TypeVar("NetworkT", bound=Network)


def network_labels(recipe: Recipe) -> list[str]:
    """Return the labels of a recipe's network; [] without any."""
    return list(getattr(getattr(recipe, "network", None), "words", []))


class ExportFamily(ABC, Generic[RecipeT, NetworkT]):
    """Graphs, report and `make` settings of a network family; its objects have no state.

    Attributes:
        recipe: that `make` trains, of families in ``MADE``.
        purpose: of its instruments, for users.
        demo: file of `make`'s demo, which an instrument's report plays.
        keyed: `make` holds whole keys out of the trial, and the report compares ``trial`` and instrument; the trial of
            others holds out clips, and the report is of the trial.
        completing: recipe changes, as ``key=value``, with which the instrument learns ends of clips after the trial.
        played: the report compares notes with recordings; it receives ``exported``, which opens the first preset, and
            ``instrument``, its folder.
        sided: the report compares sides with those of stereo recordings; it receives ``exported`` too.
        judged: the report receives a classifier ``judge``.
        whole_clips: clips are whole recordings, at their own rate and of any length.
        gridded: clips are loops on one grid, at their own rate.
        unpitched: warning for sounds without a clear pitch.
    """

    recipe: ClassVar[str] = ""
    purpose: ClassVar[str] = ""
    demo: ClassVar[str] = ""
    keyed: ClassVar[bool] = False
    completing: ClassVar[tuple[str, ...]] = ()
    played: ClassVar[bool] = False
    sided: ClassVar[bool] = False
    judged: ClassVar[bool] = False
    whole_clips: ClassVar[bool] = False
    gridded: ClassVar[bool] = False
    unpitched: ClassVar[str] = ""

    def graphs(self, network: NetworkT, recipe: RecipeT, corpus: Corpus, tonal: bool) -> Graphs:
        """Return decoder, encoder, codes of sampled training data and card fields; ``tonal`` as the run's corpus.

        Raises:
            UserError: no training data is audible.
        """
        raise NotImplementedError

    @abstractmethod
    def report(self, request: ReportRequest) -> Report:
        """Return the report of `timbrel evaluate`.

        Raises:
            UserError: the corpus is silent.
        """

    def playing(self, preset: Preset, model: Model, tonal: bool) -> str:
        """Return how a preset plays a model, for users."""
        return ""

    def labels(self, recipe: RecipeT, corpus: Corpus) -> list[str]:
        """Return the labels that a ``judge`` of a run's report has to know, in the order of its posteriors.

        Raises:
            UserError: there is nothing to judge.
        """
        return network_labels(recipe)

    def changes(self, corpus: Corpus) -> list[str]:
        """Return `make`'s recipe changes for a corpus, as ``key=value``."""
        return []
