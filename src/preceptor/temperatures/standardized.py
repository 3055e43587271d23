"""Logit standardization: rows of mean 0 and standard deviation 1, at one temperature."""

from dataclasses import dataclass

from preceptor.context import BatchClasses, BatchContext, BatchOutputs, z_score
from preceptor.errors import require_positive
from preceptor.registry import register


@register("temperature", "standardized", paper="Sun et al., 2024, arXiv:2403.01427 (logit standardization)")
@dataclass(frozen=True)
class Standardized:
    """Standardize each row of logits, of teacher and student, before losses compare them.

    ``(z - mean) / (std + 1e-7)``, std unbiased, over the classes; the student's statistics carry gradient. Losses do
    not change when a network's logits become ``a z + b``, a > 0: the student need not match the teacher's scale.
    Everything compared with the teacher is standardized, whatever the loss; a correction sees the standardized teacher,
    a label loss the student's logits as they are. The gradient grows as the student's deviation falls: it is 0 for
    constant logits, and large for nearly constant ones.

    Args:
        temperature: at which the standardized rows are compared, above 0. Default 2 (the paper's; 3 or 4 for some
            pairs).

    Raises:
        InputError: the temperature is not a finite number above 0.
    """

    temperature: float = 2.0

    def __post_init__(self) -> None:
        require_positive("standardized", temperature=self.temperature)

    def __call__(self, context: BatchContext) -> float:
        return self.temperature

    def rescale(self, logits: BatchOutputs, teacher_logits: BatchClasses) -> BatchOutputs:
        """The standardized rows, [batch, outputs]."""
        return z_score(logits, classes=teacher_logits.shape[1])
