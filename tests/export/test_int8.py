import json

import numpy as np
import pytest

from preceptor.errors import InputError
from preceptor.export import answer_quality, quantize
from preceptor.export.int8 import MODES, without_guarantee
from preceptor.metrics import aurc
from preceptor.models import ModelCard
from tests.training_helpers import digits

onnx = pytest.importorskip("onnx", reason="needs onnx (extra onnx)")
onnxruntime = pytest.importorskip("onnxruntime", reason="needs onnxruntime (extra onnx)")


@pytest.fixture(scope="module")
def smaller(deployment):
    train = digits().train.images[:256]
    return {mode: quantize(deployment.exports["onnx"], mode, deployment.card, train) for mode in MODES}


def model_of(export):
    return onnx.load_model_from_string(export.contents["student.int8.onnx"])


@pytest.mark.parametrize("mode", MODES)
def test_its_weights_are_bytes_and_its_answers_nearly_the_same(deployment, smaller, mode):
    shown = digits().test.images[:200]
    before, after = (export.run(shown) for export in (deployment.exports["onnx"], smaller[mode]))
    assert (before.label == after.label).float().mean() > 0.9
    assert (before.probabilities - after.probabilities).abs().mean() < 0.05
    assert not np.array_equal(before.probabilities, after.probabilities)
    matrices = [weight for weight in model_of(smaller[mode]).graph.initializer if len(weight.dims) >= 2]
    large = {weight.data_type for weight in matrices if np.prod(weight.dims) >= 36}
    assert large <= {onnx.TensorProto.INT8, onnx.TensorProto.UINT8}


@pytest.mark.parametrize("mode", MODES)
def test_what_is_around_the_network_stays_in_floating_point(deployment, smaller, mode):
    """Logits are not rounded to one of 256, nor is anything that softmax, score and decision make of them."""
    whole = onnx.load_model_from_string(deployment.exports["onnx"].contents["student.onnx"])
    around = {node.name: node.op_type for node in whole.graph.node if not node.name.startswith("network/")}
    nodes = model_of(smaller[mode]).graph.node
    assert around.items() <= {node.name: node.op_type for node in nodes}.items()
    rounded = {name for node in nodes if node.op_type == "DequantizeLinear" for name in node.output}
    assert not any(rounded & set(node.input) for node in nodes if node.name in around)


def test_static_has_a_scale_for_each_channel(smaller):
    graph = model_of(smaller["static"]).graph
    scales = {node.input[1] for node in graph.node if node.op_type == "DequantizeLinear"}
    sizes = sorted(tuple(weight.dims) for weight in graph.initializer if weight.name in scales and weight.dims)
    assert {(4,), (8,), (16,)} <= set(sizes)


@pytest.mark.parametrize("mode", MODES)
def test_the_guarantee_is_not_on_its_card(deployment, smaller, mode):
    session = onnxruntime.InferenceSession(smaller[mode].contents["student.int8.onnx"])
    metadata = session.get_modelmeta().custom_metadata_map
    card = ModelCard.model_validate_json(metadata["card"])
    assert (card.decision, card.sets) == (None, None)
    assert "is not guaranteed for this one" in card.notes["int8"]
    assert mode in card.notes["int8"]
    assert json.loads(metadata["class_names"]) == list(deployment.card.class_names)
    assert 0 < session.run(["answered"], {"images": digits().test.images.numpy()})[0].mean() < 1


def test_without_a_decision_there_is_no_guarantee_to_remove(deployment):
    card = deployment.card.model_copy(update={"decision": None})
    assert without_guarantee(card, "static").notes == {"int8": "quantized to int8 (static)"}


def test_an_unknown_mode_is_refused(deployment):
    with pytest.raises(InputError, match="unknown int8 mode 'static8': did you mean 'static'"):
        quantize(deployment.exports["onnx"], "static8", deployment.card, digits().train.images[:1])


def test_answer_quality_by_hand(deployment):
    test, export = digits().test, deployment.exports["onnx"]
    quality = answer_quality(export.run, test.images, test.labels, "softmax_response")
    output = export.run(test.images)
    wrong = (output.label != test.labels).numpy()
    answered = output.answered.numpy()
    assert quality.images == len(test)
    assert quality.accuracy == pytest.approx(1 - wrong.mean())
    assert quality.coverage == pytest.approx(answered.mean())
    assert quality.risk == pytest.approx(wrong[answered].mean())
    assert quality.selective.score == "softmax_response"
    assert quality.selective.aurc == pytest.approx(aurc(output.score, output.label != test.labels))
    assert quality.selective.error_at_coverage["100"] == pytest.approx(wrong.mean())


def test_a_file_that_answers_nothing_has_no_risk(deployment):
    run = deployment.exports["onnx"].run

    def never(shown):
        output = run(shown)
        return output._replace(answered=output.answered & False)

    test = digits().test
    quality = answer_quality(never, test.images, test.labels, "softmax_response")
    assert (quality.coverage, quality.risk) == (0.0, None)
