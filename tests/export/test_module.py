import pytest
import torch

from preceptor.data import Normalization
from preceptor.errors import InputError
from preceptor.export import ExportModule
from preceptor.export.uncertainty import UNCERTAINTIES
from preceptor.metrics import SCORES, confidence
from preceptor.metrics.decisions import which_answered
from tests.export.students import answers, decision, images, median_threshold, student


@pytest.mark.parametrize("abstains", [False, True], ids=["classes", "reservation"])
def test_its_outputs_are_the_librarys(abstains):
    network, card = student(abstains)
    output, wanted = ExportModule(network, card).run(images()), answers(network, card, images())
    assert output.label.tolist() == wanted.prediction.tolist()
    assert output.probabilities.shape == (64, 10)
    torch.testing.assert_close(
        output.probabilities.double(), wanted.class_logits.double().softmax(dim=1), rtol=0, atol=1e-6
    )
    torch.testing.assert_close(output.score.double(), confidence("softmax_response", wanted), rtol=0, atol=1e-6)
    assert output.answered.all()


OPTIONS = {"max_logit_p_norm": {"p": 3.0}, "energy": {"temperature": 2.0}}


@pytest.mark.parametrize("name", UNCERTAINTIES)
def test_it_abstains_as_the_library_does(name):
    network, card = student(abstains=True)
    options = OPTIONS.get(name, {})
    decided = decision(name, median_threshold(network, card, name, **options), options=options)
    output = ExportModule(network, card.model_copy(update={"decision": decided})).run(images())
    wanted = answers(network, card, images())
    assert output.answered.tolist() == which_answered(decided, wanted).tolist()
    assert output.answered.sum() == 32
    torch.testing.assert_close(output.score.double(), confidence(name, wanted, **options), rtol=1e-5, atol=1e-5)


def test_each_class_may_have_its_own_threshold_and_some_are_never_answered():
    network, card = student()
    wanted = answers(network, card, images())
    never = int(wanted.prediction[0])
    middle = median_threshold(network, card, "softmax_response")
    limits = tuple(None if number == never else middle * (0.9 + 0.02 * number) for number in range(10))
    decided = decision(class_thresholds=limits, joint=True)
    output = ExportModule(network, card.model_copy(update={"decision": decided})).run(images())
    assert output.answered.tolist() == which_answered(decided, wanted).tolist()
    assert output.answered.any()
    assert not output.answered[output.label == never].any()


def test_its_normalization_is_the_librarys_to_the_bit():
    network, card = student()
    card = card.model_copy(update={"mean": (0.1307,), "std": (0.3081,)})
    deployed = ExportModule(network, card)
    wanted = Normalization((0.1307,), (0.3081,))(images())
    assert torch.equal(torch.addcmul(deployed.shift, images().float(), deployed.gain), wanted)


def test_the_student_is_left_as_it_was():
    network, card = student()
    network.train()
    deployed = ExportModule(network, card)
    assert network.training
    assert all(weight.requires_grad for weight in network.parameters())
    assert not deployed.training
    assert not any(weight.requires_grad for weight in deployed.parameters())


@pytest.mark.parametrize("name", sorted(set(SCORES) - set(UNCERTAINTIES)))
def test_a_score_that_needs_more_than_the_student_is_refused(name):
    network, card = student()
    with pytest.raises(InputError, match=f"score {name} needs the .*choose one of .*softmax_response"):
        ExportModule(network, card.model_copy(update={"decision": decision(name, 0.5)}))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("softmax", {}, "unknown score 'softmax': did you mean 'softmax_response'"),
        ("reservation", {}, "needs a student whose head may abstain"),
        ("max_logit_p_norm", {}, "p is missing"),
        ("energy", {"temperature": 0.0}, "temperature is 0.0; expected"),
        ("margin", {"p": 1.0}, "unknown option of score margin 'p'"),
    ],
    ids=lambda value: str(value),
)
def test_a_decision_that_cannot_be_taken_is_refused(name, options, message):
    network, card = student()
    with pytest.raises(InputError, match=message):
        ExportModule(network, card.model_copy(update={"decision": decision(name, 0.5, options=options)}))
