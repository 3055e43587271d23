"""Calibration of confidences: reliability diagrams, and calibration errors.

A calibration error bins the samples by confidence and adds up, over the bins, the share of samples times how far their
accuracy lies from their mean confidence: ``sum_b (n_b / n) |accuracy_b - confidence_b|``. Since that is
``(1/n) sum_b |sum_{i in b} (right_i - confidence_i)|``, no bin is ever divided by its size, and empty ones count 0.

Bins of equal width are ``(low, high]``, the first with 0, so that tied samples are always in one bin. Bins of equal
mass may have to part tied samples, or one sample: each bin then gets its fraction, the average over their orders.

A calibration error is never below 0, so that the noise of its bins adds up: of few samples it is above 0 even where the
confidences are right.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from preceptor.chunking import Table, row_chunks
from preceptor.context import is_class
from preceptor.errors import unknown_name
from preceptor.metrics.accuracy import brier_score, negative_log_likelihood
from preceptor.metrics.bins import bin_sums
from preceptor.metrics.checks import check_confidence, check_number, refuse_first
from preceptor.metrics.scores import softmax_response

BINS = 15
"""Guo et al., "On Calibration of Modern Neural Networks", 2017, arXiv:1706.04599."""

MOST_CLASSES = 100
"""Up to so many classes the class-wise ECE gets an interval; with more its draws would cost more than all else."""

Binning = Literal["equal_width", "equal_mass"]


@dataclass(frozen=True)
class Reliability:
    """A reliability diagram: claimed and actual accuracy, bin by bin; None where a bin is empty.

    Attributes:
        binning: "equal_width" or "equal_mass".
        samples: of each bin; a fraction where bins of equal mass part a sample.
        confidence: mean confidence of each bin.
        accuracy: share of right predictions in each bin.
    """

    binning: Binning
    samples: list[float]
    confidence: list[float | None]
    accuracy: list[float | None]


def reliability(
    confidence: Float[Tensor, " n"], right: Bool[Tensor, " n"], bins: int = BINS, binning: Binning = "equal_width"
) -> Reliability:
    """The reliability diagram of a confidence that claims to be the probability of being right; 15 bins by default.

    Raises:
        InputError: no sample, shapes that differ, a confidence outside [0, 1], or no bins.
    """
    _check(confidence, right, bins)
    columns = torch.stack([torch.ones_like(confidence.double()), confidence.double(), right.double()], dim=1)
    samples, claimed, came_true = _bin_sums(confidence, columns, bins, binning).T.tolist()

    def per_sample(totals: list[float]) -> list[float | None]:
        return [total / size if size > 0 else None for total, size in zip(totals, samples, strict=True)]

    return Reliability(binning, samples, per_sample(claimed), per_sample(came_true))


def merged(diagram: Reliability, least: float) -> Reliability:
    """The same diagram with neighboring bins put together, from the first on, until each holds ``least`` samples.

    What is left at the end joins the last bin. A bin of one sample is right or wrong: it draws a zigzag, not a curve.
    """
    joined: list[list[float]] = []  # samples, and the sums of their confidences and of the right ones
    for size, confidence, accuracy in zip(diagram.samples, diagram.confidence, diagram.accuracy, strict=True):
        if confidence is None or accuracy is None:
            continue
        sums = [size, size * confidence, size * accuracy]
        if joined and joined[-1][0] < least:
            joined[-1] = [a + b for a, b in zip(joined[-1], sums, strict=True)]
        else:
            joined.append(sums)
    if len(joined) > 1 and joined[-1][0] < least:
        last = joined.pop()
        joined[-1] = [a + b for a, b in zip(joined[-1], last, strict=True)]
    samples = [size for size, _, _ in joined]
    claimed, came_true = ([one[place] / one[0] for one in joined] for place in (1, 2))
    return Reliability(diagram.binning, samples, [*claimed], [*came_true])


def calibration_error(
    confidence: Float[Tensor, " n"], right: Bool[Tensor, " n"], bins: int = BINS, binning: Binning = "equal_width"
) -> float:
    """ECE, of bins of equal width; or adaptive ECE, of bins of equal mass. From 0 to 1, lower is better.

    Naeini, Cooper and Hauskrecht, "Obtaining Well Calibrated Probabilities Using Bayesian Binning", 2015; adaptive:
    Nixon et al., "Measuring Calibration in Deep Learning", 2019, arXiv:1904.01685.

    Raises:
        InputError: as `reliability`.
    """
    _check(confidence, right, bins)
    gap = (right.double() - confidence.double())[:, None]
    return float(_bin_sums(confidence, gap, bins, binning).abs().sum()) / len(gap)


@dataclass(frozen=True)
class _ClassBins:
    """Which of its class's bins each probability is in, and by how much it misses: what a class-wise ECE sums up.

    That is the mean over classes of the ECE of the class's probability, in bins of equal width. Kull et al., "Beyond
    Temperature Scaling: Obtaining Well-calibrated Multi-class Probabilities with Dirichlet Calibration", 2019,
    arXiv:1910.12656.

    Attributes:
        slot: number of class and bin, ``class * bins + bin``.
        gap: 1 for the label's class and 0 for others, less the probability.
        bins: of each class.
    """

    slot: Int[Tensor, "*draws n classes"]
    gap: Float[Tensor, "*draws n classes"]
    bins: int

    @classmethod
    def of(cls, probabilities: Float[Tensor, "n classes"], labels: Int[Tensor, " n"], bins: int) -> "_ClassBins":
        exact = probabilities.double()
        slot = _bin_of(exact, bins) + bins * torch.arange(exact.shape[1], device=exact.device)
        return cls(slot, is_class(exact, labels).double() - exact, bins)

    def sums(self) -> Float[Tensor, "*draws classes bins"]:
        """The gaps added up in each class's bins."""
        classes = self.gap.shape[-1]
        sums = bin_sums(self.slot.flatten(-2), classes * self.bins, self.gap.flatten(-2))
        return sums.view(*sums.shape[:-1], classes, self.bins)

    def error(self, index: Int[Tensor, "*draws n"]) -> Float[Tensor, "*draws"]:
        """The class-wise ECE of the samples of these indices."""
        return _class_error(_ClassBins(self.slot[index], self.gap[index], self.bins).sums(), index.shape[-1])


def _class_error(sums: Float[Tensor, "*draws classes bins"], n: int) -> Float[Tensor, "*draws"]:
    return sums.abs().sum(dim=-1).mean(dim=-1) / n


@dataclass(frozen=True)
class Probabilities:
    """A classifier's probabilities, as they are or at a temperature, reduced to what calibration is computed from.

    No table of samples by classes is held but `bins`, of few classes.

    Attributes:
        confidence: softmax response of each sample.
        nll: negative log-likelihood of its label, in nats.
        brier: its Brier score.
        bins: None with more than `MOST_CLASSES` classes.
        classwise_ece: of all samples.
    """

    confidence: Float[Tensor, " n"]
    nll: Float[Tensor, " n"]
    brier: Float[Tensor, " n"]
    bins: _ClassBins | None
    classwise_ece: float

    @classmethod
    def of(
        cls, logits: Float[Tensor, "n classes"], labels: Int[Tensor, " n"], temperature: float | None = None
    ) -> "Probabilities":
        """Of known labels."""
        n, few = len(labels), logits.shape[1] <= MOST_CLASSES
        confidence, nll, brier, slot, gap = (Table(n) for _ in range(5))
        sums = torch.zeros(())
        for part, own in row_chunks(logits, labels):
            rows = part if temperature is None else part.double() / temperature
            confidence.add(softmax_response(rows))
            nll.add(negative_log_likelihood(rows, own))
            brier.add(brier_score(rows, own))
            bins = _ClassBins.of(rows.double().softmax(dim=1), own, BINS)
            sums = sums + bins.sums()
            if few:
                slot.add(bins.slot)
                gap.add(bins.gap)
        kept = _ClassBins(slot.rows, gap.rows, BINS) if few else None
        return cls(confidence.rows, nll.rows, brier.rows, kept, float(_class_error(sums, n)))

    @cached_property
    def _tier(self) -> Int[Tensor, " n"]:
        """The place of each sample's confidence among those that occur, in rising order."""
        tier: Tensor = self.confidence.unique(return_inverse=True)[1]
        return tier

    def errors(self, index: Int[Tensor, "*draws n"], right: Bool[Tensor, " n"]) -> dict[str, Float[Tensor, "*draws"]]:
        """The calibration errors of the samples of these indices; the class-wise one of few classes."""
        gap, n = (right.double() - self.confidence.double())[index], index.shape[-1]
        by_width = bin_sums(_bin_of(self.confidence, BINS)[index], BINS, gap)
        by_mass = _equal_mass_sums(self._tier[index], int(self._tier.max()) + 1, gap.unsqueeze(-1), BINS).squeeze(-1)
        errors = {"ece": by_width.abs().sum(dim=-1) / n, "adaptive_ece": by_mass.abs().sum(dim=-1) / n}
        if self.bins is not None:
            errors["classwise_ece"] = self.bins.error(index)
        return errors


def _bin_sums(
    confidence: Float[Tensor, " n"], columns: Float[Tensor, "n columns"], bins: int, binning: Binning
) -> Float[Tensor, "bins columns"]:
    """The columns added up over each bin."""
    if binning == "equal_width":
        place = _bin_of(confidence, bins)
        return torch.stack([bin_sums(place, bins, column) for column in columns.unbind(dim=1)], dim=1)
    if binning != "equal_mass":
        raise unknown_name("binning", binning, ("equal_width", "equal_mass"))
    levels, tier = confidence.unique(return_inverse=True)
    return _equal_mass_sums(tier, len(levels), columns, bins)


def _equal_mass_sums(
    tier: Int[Tensor, "*draws n"], tiers: int, columns: Float[Tensor, "*draws n columns"], bins: int
) -> Float[Tensor, "*draws bins columns"]:
    """The columns added up over bins of equal mass, from the samples' tiers of equal confidence, in rising order."""
    counted = torch.cat([torch.ones_like(columns[..., :1]), columns], dim=-1)
    through = torch.stack([bin_sums(tier, tiers, column) for column in counted.unbind(dim=-1)], dim=-1).cumsum(dim=-2)
    through = torch.cat([torch.zeros_like(through[..., :1, :]), through], dim=-2)
    # What has been added up by each edge: linear within a tier, which the edge may part.
    mass = tier.shape[-1] * torch.arange(bins + 1, dtype=torch.float64, device=tier.device) / bins
    mass = mass.expand(*tier.shape[:-1], -1).contiguous()
    high = torch.searchsorted(through[..., 0].contiguous(), mass).clamp(min=1, max=tiers)
    above, below = (through.take_along_dim(place.unsqueeze(-1), dim=-2) for place in (high, high - 1))
    # At mass 0 the first tier of a draw may be empty: nothing of it is taken.
    part = (mass.unsqueeze(-1) - below[..., :1]) / (above[..., :1] - below[..., :1]).clamp(min=1)
    return (below + part * (above - below))[..., 1:].diff(dim=-2)


def _bin_of(confidence: Float[Tensor, "*shape"], bins: int) -> Int[Tensor, "*shape"]:
    """In which of the bins of equal width each is."""
    edges = torch.arange(1, bins, dtype=torch.float64, device=confidence.device) / bins
    return torch.bucketize(confidence.double().contiguous(), edges)


def _check(confidence: Tensor, right: Tensor, bins: int) -> None:
    check_number("bins", bins, at_least=1, whole=True, example=BINS)
    check_confidence(confidence, right, "right")
    refuse_first(
        (confidence < 0) | (confidence > 1),
        lambda first: f"confidence is {float(confidence[first])}; expected a probability, 0 to 1",
    )
