"""Every kind of difference between a file and its student is an error, unless rounding explains it."""

import pytest
import torch

from preceptor.errors import MachineError
from preceptor.export import ExportModule, check, expected, some_of
from preceptor.metrics import confidence
from tests.export.students import answers, decision, images, median_threshold, student

NAN = float("nan")


@pytest.fixture(scope="module")
def decided():
    network, card = student()
    threshold = median_threshold(network, card, "softmax_response")
    return network, card.model_copy(update={"decision": decision(threshold=threshold)})


def verdict(decided, spoil=lambda output: output):
    network, card = decided
    deployed = ExportModule(network, card)
    return check("file", lambda shown: spoil(deployed.run(shown)), images(), expected(network, card, images()))


def test_a_true_file_agrees(decided):
    agreement = verdict(decided)
    assert agreement.images == 64
    assert agreement.probability_difference <= 1e-6
    assert agreement.score_difference <= 1e-6
    assert (agreement.near_threshold, agreement.decided_otherwise) == (0, 0)


def only_in_batches_of(size, change):
    def spoil(output):
        return change(output) if len(output.label) == size else output

    return spoil


@pytest.mark.parametrize("size", [1, 7, 64])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda output: output._replace(label=(output.label + 1) % 10), "labels in batches of"),
        (lambda output: output._replace(probabilities=output.probabilities + 2e-4), "a probability differs by 2"),
        (
            lambda output: output._replace(probabilities=output.probabilities * float("nan")),
            "a probability differs by nan",
        ),
        (lambda output: output._replace(score=output.score - 2e-4), "a score differs by 2"),
        (lambda output: output._replace(answered=~output.answered), "decisions that rounding does not explain"),
        (lambda output: output._replace(label=output.label[:-1]), "labels for"),
    ],
    ids=["label", "probability", "nan", "score", "decision", "fewer"],
)
def test_what_differs_is_an_error_in_whatever_batch(decided, size, change, message):
    with pytest.raises(MachineError, match=f"^file: differs from the student: .*{message}.*not written"):
        verdict(decided, only_in_batches_of(size, change))


def test_a_sample_at_its_threshold_may_be_decided_by_rounding():
    network, card = student()
    threshold = float(confidence("softmax_response", answers(network, card, images()))[5])
    card = card.model_copy(update={"decision": decision(threshold=threshold)})
    deployed, wanted = ExportModule(network, card), expected(network, card, images())
    assert wanted.near.nonzero().flatten().tolist() == [5]

    def the_other_way(shown):
        output = deployed.run(shown)
        fifth = (shown == images()[5]).flatten(1).all(dim=1)
        return output._replace(answered=torch.where(fifth, ~wanted.output.answered[5], output.answered))

    agreement = check("file", the_other_way, images(), wanted)
    assert (agreement.near_threshold, agreement.decided_otherwise) == (1, 1)


def test_some_images_are_spread_over_all():
    every = torch.arange(1000, dtype=torch.int16).reshape(-1, 1, 1, 1)
    chosen = some_of(every).flatten()
    assert (len(chosen), int(chosen[0])) == (256, 0)
    assert set(chosen.diff().tolist()) <= {3, 4}
    assert int(chosen[-1]) >= 996
    assert torch.equal(some_of(every[:7]), every[:7])
