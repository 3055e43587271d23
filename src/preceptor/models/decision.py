"""Calibrated decisions of a student: to abstain below a threshold, or to answer with a set; and their guarantees."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

Share = Annotated[float, Field(ge=0, le=1)]
Chance = Annotated[float, Field(gt=0, lt=1)]
Part = Literal["held_out", "test", "all"]


class CalibrationSet(BaseModel):
    """The images a guarantee rests on: drawn like those to come, and used for nothing else.

    Attributes:
        data: the data set, as the user stated it.
        part: which of its images: "held_out", those a run held out; "test"; or "all".
        samples: how many labeled ones.
        fingerprint: SHA-256 of their pixels and labels, in order.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: str
    part: Part
    samples: Annotated[int, Field(ge=1)]
    fingerprint: str


class Decision(BaseModel):
    """When the student answers: its score reaches a threshold, one for all or one for each predicted class.

    Attributes:
        score: the confidence it looks at, a name of ``metrics.SCORES``.
        options: of the score.
        threshold: the least confidence that is answered; None where each class has its own.
        class_thresholds: the same by predicted class, None for one that is never answered; None with one threshold for
            all.
        max_risk: share of errors among the answers that is guaranteed not to be exceeded.
        confidence: probability, over calibration sets, that the guarantee holds.
        joint: whether guarantees for single classes hold all at once; None for one threshold.
        coverage: share of the calibration set that is answered.
        risk: share of errors among these.
        calibrated_on: the calibration set.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    score: str
    options: dict[str, FiniteFloat] = {}
    threshold: FiniteFloat | None = None
    class_thresholds: tuple[FiniteFloat | None, ...] | None = None
    max_risk: Annotated[float, Field(gt=0, le=1)]
    confidence: Chance
    joint: bool | None = None
    coverage: Share
    risk: Share | None
    calibrated_on: CalibrationSet

    @model_validator(mode="after")
    def _one_rule(self) -> "Decision":
        if (self.threshold is None) == (self.class_thresholds is None):
            raise ValueError("expected either threshold or class_thresholds")
        if self.threshold is not None and self.joint is not None:
            raise ValueError("joint goes with class_thresholds; leave it out beside a threshold for all")
        return self


class SetDecision(BaseModel):
    """Which classes a conformal prediction set holds; see :mod:`preceptor.metrics.conformal`.

    Attributes:
        method: "lac", "aps" or "raps".
        alpha: share of new samples whose class a set may miss.
        threshold: the largest nonconformity let in; None lets in every class.
        penalty: for each rank beyond the free ones, raps only.
        free_ranks: number of classes without a penalty, raps only.
        calibrated_on: the calibration set.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Literal["lac", "aps", "raps"]
    alpha: Chance
    threshold: FiniteFloat | None
    penalty: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    free_ranks: Annotated[int, Field(ge=0)] = 0
    calibrated_on: CalibrationSet
