"""DropWrong, the control for every correction: no distillation where the teacher is wrong."""

from dataclasses import dataclass

from preceptor.context import BatchContext, PerSample
from preceptor.registry import register


@register(
    "selection",
    "drop_wrong",
    paper="control: a correction must beat merely ignoring the teacher where it is wrong",
)
@dataclass(frozen=True)
class DropWrong:
    """Ignore the teacher on the labeled samples it gets wrong; use it on all others.

    Teacher logits that hold a NaN count as a prediction of the last class, so most such samples are dropped like wrong
    ones, without an error. ``preceptor doctor`` looks for them.
    """

    def __call__(self, context: BatchContext) -> PerSample:
        return (~context.wrong).to(context.teacher_logits.dtype)
