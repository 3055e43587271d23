"""Layer pairs: what every feature loss has in common."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from preceptor.context import PerSample
from preceptor.errors import InputError
from preceptor.registry import registered_name


class LayerPairs(nn.Module, ABC):
    """Base class of feature losses: which layer of the student is compared with which layer of the teacher.

    Args:
        layers: module path in the student -> module path in the teacher, for example ``{"layer3": "layer3"}``. None
            (default) chooses from the layers that both networks list in their attribute ``feature_layers``.
    """

    def __init__(self, layers: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self.layers: dict[str, str] = dict(layers or {})

    def default_layers(self, student: Sequence[str], teacher: Sequence[str]) -> dict[str, str]:
        """The pairs where none were given: stage by stage, counted from the last."""
        pairs = min(len(student), len(teacher))
        return dict(zip(student[-pairs:], teacher[-pairs:], strict=True)) if pairs else {}

    def resolve_layers(self, student: Sequence[str], teacher: Sequence[str]) -> None:
        """Choose the layers, where none were given.

        Raises:
            InputError: a network lists none.
        """
        self.layers = self.layers or self.default_layers(student, teacher)
        if not self.layers:
            raise InputError(
                f"{registered_name(self)}: which layers are compared? Networks of this package list theirs, others do "
                "not: give layers={student path: teacher path}, paths as in named_modules()"
            )

    def build_adapters(self, student: Sequence[torch.Size], teacher: Sequence[torch.Size]) -> None:
        """Create what adapts unequal shapes of the layers' outputs, in the order of ``layers``; by default nothing."""

    @abstractmethod
    def forward(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> PerSample:
        """The loss of each sample, from the features of each pair of layers, [batch, ...] each."""
