"""Knowledge distillation that checks the teacher.

The public surface is listed here once; everything is imported on first use, so that ``import preceptor`` is quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from preceptor.abstain import Gambler as Gambler
    from preceptor.abstain import SoftGambler as SoftGambler
    from preceptor.audit import Audit as Audit
    from preceptor.audit import Terms as Terms
    from preceptor.chain import Chain as Chain
    from preceptor.correct import LabelRevision as LabelRevision
    from preceptor.correct import LabelSmoothing as LabelSmoothing
    from preceptor.correct import ProbabilityShift as ProbabilityShift
    from preceptor.errors import InputError as InputError
    from preceptor.errors import PreceptorError as PreceptorError
    from preceptor.evidence import Checkpoint as Checkpoint
    from preceptor.evidence import Evidence as Evidence
    from preceptor.evidence import Outputs as Outputs
    from preceptor.lesson import Lesson as Lesson
    from preceptor.match import CMKD as CMKD
    from preceptor.match import KL as KL
    from preceptor.match import IntraClass as IntraClass
    from preceptor.match import Pearson as Pearson
    from preceptor.match import Spearman as Spearman
    from preceptor.match import SquaredErrorLogits as SquaredErrorLogits
    from preceptor.match import SquaredErrorProbs as SquaredErrorProbs
    from preceptor.recipes import recipe as recipe
    from preceptor.recipes import recipe_names as recipe_names
    from preceptor.select import EL2N as EL2N
    from preceptor.select import Correctness as Correctness
    from preceptor.select import DropWrong as DropWrong
    from preceptor.select import GradientCosine as GradientCosine
    from preceptor.select import Influence as Influence
    from preceptor.select import Random as Random
    from preceptor.select import TeacherLoss as TeacherLoss
    from preceptor.select import TracIn as TracIn
    from preceptor.stage import register as register
    from preceptor.temper import CWSM as CWSM
    from preceptor.temper import FLSW as FLSW
    from preceptor.temper import Fixed as Fixed
    from preceptor.terms import Term as Term
    from preceptor.truth import CrossEntropy as CrossEntropy
    from preceptor.truth import LabelSmoothedCrossEntropy as LabelSmoothedCrossEntropy

_HOME = {
    "Audit": "audit",
    "CMKD": "match",
    "CWSM": "temper",
    "Chain": "chain",
    "Checkpoint": "evidence",
    "Correctness": "select",
    "CrossEntropy": "truth",
    "DropWrong": "select",
    "EL2N": "select",
    "Evidence": "evidence",
    "FLSW": "temper",
    "Fixed": "temper",
    "Gambler": "abstain",
    "GradientCosine": "select",
    "Influence": "select",
    "InputError": "errors",
    "IntraClass": "match",
    "KL": "match",
    "LabelRevision": "correct",
    "LabelSmoothedCrossEntropy": "truth",
    "LabelSmoothing": "correct",
    "Lesson": "lesson",
    "Outputs": "evidence",
    "Pearson": "match",
    "PreceptorError": "errors",
    "ProbabilityShift": "correct",
    "Random": "select",
    "SoftGambler": "abstain",
    "Spearman": "match",
    "SquaredErrorLogits": "match",
    "SquaredErrorProbs": "match",
    "TeacherLoss": "select",
    "Term": "terms",
    "Terms": "audit",
    "TracIn": "select",
    "recipe": "recipes",
    "recipe_names": "recipes",
    "register": "stage",
}

__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'preceptor' has no attribute {name!r}")
    return getattr(import_module(f"preceptor.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
