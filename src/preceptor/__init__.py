"""Knowledge distillation that checks the teacher.

The public surface is listed here once; everything is imported on first use, so that ``import preceptor`` is quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from preceptor.abstention import Gambler as Gambler
    from preceptor.abstention import SoftGambler as SoftGambler
    from preceptor.api import Trained as Trained
    from preceptor.api import distill as distill
    from preceptor.api import evaluate as evaluate
    from preceptor.api import outputs as outputs
    from preceptor.api import train as train
    from preceptor.context import BatchContext as BatchContext
    from preceptor.context import ModelOutputs as ModelOutputs
    from preceptor.context import SelectionData as SelectionData
    from preceptor.context import TeacherSnapshot as TeacherSnapshot
    from preceptor.corrections import LabelRevision as LabelRevision
    from preceptor.corrections import LabelSmoothing as LabelSmoothing
    from preceptor.corrections import ProbabilityShift as ProbabilityShift
    from preceptor.data import Normalization as Normalization
    from preceptor.errors import InputError as InputError
    from preceptor.errors import PreceptorError as PreceptorError
    from preceptor.feature_losses import Attention as Attention
    from preceptor.feature_losses import Hint as Hint
    from preceptor.label_losses import CrossEntropy as CrossEntropy
    from preceptor.label_losses import LabelSmoothedCrossEntropy as LabelSmoothedCrossEntropy
    from preceptor.loss import DistillationLoss as DistillationLoss
    from preceptor.loss_output import Audit as Audit
    from preceptor.loss_output import LossOutput as LossOutput
    from preceptor.loss_terms import LossTerm as LossTerm
    from preceptor.losses import CMKD as CMKD
    from preceptor.losses import KL as KL
    from preceptor.losses import IntraClass as IntraClass
    from preceptor.losses import Pearson as Pearson
    from preceptor.losses import Spearman as Spearman
    from preceptor.losses import SquaredErrorLogits as SquaredErrorLogits
    from preceptor.losses import SquaredErrorProbs as SquaredErrorProbs
    from preceptor.recipes import recipe as recipe
    from preceptor.recipes import recipe_names as recipe_names
    from preceptor.registry import register as register
    from preceptor.selections import EL2N as EL2N
    from preceptor.selections import Correctness as Correctness
    from preceptor.selections import DropWrong as DropWrong
    from preceptor.selections import GradientCosine as GradientCosine
    from preceptor.selections import Influence as Influence
    from preceptor.selections import Random as Random
    from preceptor.selections import TeacherLoss as TeacherLoss
    from preceptor.selections import TracIn as TracIn
    from preceptor.temperatures import CWSM as CWSM
    from preceptor.temperatures import FLSW as FLSW
    from preceptor.temperatures import Fixed as Fixed

_NAMES = {
    "abstention": ("Gambler", "SoftGambler"),
    "api": ("Trained", "distill", "evaluate", "outputs", "train"),
    "context": ("BatchContext", "ModelOutputs", "SelectionData", "TeacherSnapshot"),
    "corrections": ("LabelRevision", "LabelSmoothing", "ProbabilityShift"),
    "data": ("Normalization",),
    "errors": ("InputError", "PreceptorError"),
    "feature_losses": ("Attention", "Hint"),
    "label_losses": ("CrossEntropy", "LabelSmoothedCrossEntropy"),
    "loss": ("DistillationLoss",),
    "loss_output": ("Audit", "LossOutput"),
    "loss_terms": ("LossTerm",),
    "losses": ("CMKD", "IntraClass", "KL", "Pearson", "Spearman", "SquaredErrorLogits", "SquaredErrorProbs"),
    "recipes": ("recipe", "recipe_names"),
    "registry": ("register",),
    "selections": (
        "Correctness",
        "DropWrong",
        "EL2N",
        "GradientCosine",
        "Influence",
        "Random",
        "TeacherLoss",
        "TracIn",
    ),
    "temperatures": ("CWSM", "FLSW", "Fixed"),
}
_HOME = {name: module for module, names in _NAMES.items() for name in names}

__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'preceptor' has no attribute {name!r}")
    return getattr(import_module(f"preceptor.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
