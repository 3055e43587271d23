"""Whatever a file might say wrongly is noticed, and what rounding explains is not held against it."""

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


def verdict(decided, spoil=lambda reply: reply):
    network, card = decided
    deployed = ExportModule(network, card)
    return check("file", lambda shown: spoil(deployed.reply(shown)), images(), expected(network, card, images()))


def test_a_true_file_agrees(decided):
    found = verdict(decided)
    assert found.images == 64
    assert found.probability_difference <= 1e-6
    assert found.score_difference <= 1e-6
    assert (found.near_threshold, found.decided_otherwise) == (0, 0)


def only_in_batches_of(size, change):
    def spoil(reply):
        return change(reply) if len(reply.label) == size else reply

    return spoil


@pytest.mark.parametrize("size", [1, 7, 64])
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda reply: reply._replace(label=(reply.label + 1) % 10), "labels in batches of"),
        (lambda reply: reply._replace(probabilities=reply.probabilities + 2e-4), "a probability differs by 2"),
        (
            lambda reply: reply._replace(probabilities=reply.probabilities * float("nan")),
            "a probability differs by nan",
        ),
        (lambda reply: reply._replace(score=reply.score - 2e-4), "a score differs by 2"),
        (lambda reply: reply._replace(answered=~reply.answered), "decisions that rounding does not explain"),
        (lambda reply: reply._replace(label=reply.label[:-1]), "labels for"),
    ],
    ids=["label", "probability", "nan", "score", "decision", "fewer"],
)
def test_what_differs_is_an_error_in_whatever_batch(decided, size, change, says):
    with pytest.raises(MachineError, match=f"^file: does not say what the student says: .*{says}.*not written"):
        verdict(decided, only_in_batches_of(size, change))


def test_a_sample_at_its_threshold_may_be_decided_by_rounding():
    network, card = student()
    threshold = float(confidence("softmax_response", answers(network, card, images()))[5])
    card = card.model_copy(update={"decision": decision(threshold=threshold)})
    deployed, wanted = ExportModule(network, card), expected(network, card, images())
    assert wanted.near.nonzero().flatten().tolist() == [5]

    def the_other_way(shown):
        reply = deployed.reply(shown)
        fifth = (shown == images()[5]).flatten(1).all(dim=1)
        return reply._replace(answered=torch.where(fifth, ~wanted.reply.answered[5], reply.answered))

    found = check("file", the_other_way, images(), wanted)
    assert (found.near_threshold, found.decided_otherwise) == (1, 1)


def test_some_images_are_spread_over_all():
    every = torch.arange(1000, dtype=torch.int16).reshape(-1, 1, 1, 1)
    chosen = some_of(every).flatten()
    assert (len(chosen), int(chosen[0])) == (256, 0)
    assert set(chosen.diff().tolist()) <= {3, 4}
    assert int(chosen[-1]) >= 996
    assert torch.equal(some_of(every[:7]), every[:7])
