import io
import json
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load

from preceptor.errors import InputError, MachineError
from preceptor.export import Export, check_formats, check_places, export_student, put_in_place
from preceptor.export.formats import FILES
from preceptor.metrics.decisions import which_answered
from preceptor.models import ModelCard, load_student, seeded_model
from tests.export.students import answers, decision, images, student

onnxruntime = pytest.importorskip("onnxruntime", reason="needs onnxruntime (extra onnx)")
onnx = pytest.importorskip("onnx", reason="needs onnx (extra onnx)")


def bare_session(deployment):
    """ONNX Runtime as anybody would open the file."""
    return onnxruntime.InferenceSession(deployment.exports["onnx"].contents["student.onnx"])


@pytest.mark.parametrize("count", [1, 2, 3, 64])
def test_the_onnx_file_has_the_students_outputs(deployment, count):
    wanted = answers(deployment.network, deployment.card, images(count))
    outputs = ["label", "probabilities", "score", "answered"]
    label, probabilities, score, answered = bare_session(deployment).run(outputs, {"images": images(count).numpy()})
    probabilities_wanted = wanted.class_logits.double().softmax(dim=1)
    assert label.tolist() == wanted.prediction.tolist()
    np.testing.assert_allclose(probabilities, probabilities_wanted.numpy(), rtol=0, atol=1e-6)
    np.testing.assert_allclose(score, probabilities_wanted.amax(dim=1).numpy(), rtol=0, atol=1e-6)
    assert answered.tolist() == which_answered(deployment.card.decision, wanted).tolist()


def test_the_onnx_file_states_its_inputs_and_outputs(deployment):
    session = bare_session(deployment)
    (taken,) = session.get_inputs()
    assert (taken.name, taken.type, taken.shape) == ("images", "tensor(uint8)", ["batch", 1, 8, 8])
    assert [(each.name, each.type, each.shape) for each in session.get_outputs()] == [
        ("label", "tensor(int64)", ["batch"]),
        ("probabilities", "tensor(float)", ["batch", 10]),
        ("score", "tensor(float)", ["batch"]),
        ("answered", "tensor(bool)", ["batch"]),
    ]
    metadata = session.get_modelmeta().custom_metadata_map
    assert json.loads(metadata["class_names"]) == list(deployment.card.class_names)
    assert ModelCard.model_validate_json(metadata["card"]) == deployment.card


def test_the_onnx_file_is_one_file_of_plain_operators(deployment):
    model = onnx.load_model_from_string(deployment.exports["onnx"].contents["student.onnx"])
    assert all(weight.data_location != onnx.TensorProto.EXTERNAL for weight in model.graph.initializer)
    assert [(imported.domain, imported.version) for imported in model.opset_import if imported.domain == ""] == [
        ("", 18)
    ]
    assert {node.domain for node in model.graph.node} == {""}
    assert not any(node.metadata_props or node.doc_string for node in model.graph.node)
    inside = {node.op_type for node in model.graph.node if node.name.startswith("network/")}
    outside = {node.op_type for node in model.graph.node if not node.name.startswith("network/")}
    assert {"Conv", "Relu", "MaxPool", "Gemm"} <= inside
    assert "Softmax" in outside
    assert not {"Conv", "Gemm", "MatMul"} & outside


def test_nothing_shows_where_it_was_made(deployment):
    here = [str(Path.cwd()).encode(), b"site-packages", b"module.py"]
    pt2 = zipfile.ZipFile(io.BytesIO(deployment.exports["pt2"].contents["student.pt2"]))
    contents = [deployment.exports["onnx"].contents["student.onnx"], *(pt2.read(name) for name in pt2.namelist())]
    for content in contents:
        assert not any(place in content for place in here)


def test_the_program_has_the_students_outputs(deployment, tmp_path):
    put_in_place(tmp_path, [deployment.exports["pt2"]])
    entries = {"student.json": ""}
    program = torch.export.load(tmp_path / "student.pt2", extra_files=entries)
    wanted = answers(deployment.network, deployment.card, images(5))
    label, probabilities, score, answered = program.module()(images(5))
    assert label.tolist() == wanted.prediction.tolist()
    probabilities_wanted = wanted.class_logits.double().softmax(dim=1)
    torch.testing.assert_close(probabilities.double(), probabilities_wanted, rtol=0, atol=1e-6)
    torch.testing.assert_close(score.double(), probabilities_wanted.amax(dim=1), rtol=0, atol=1e-6)
    assert answered.tolist() == which_answered(deployment.card.decision, wanted).tolist()
    assert ModelCard.model_validate_json(entries["student.json"]) == deployment.card


def test_the_state_dict_is_the_students_and_nothing_else(deployment, tmp_path):
    contents = deployment.exports["state-dict"].contents
    assert set(contents) == {"student.safetensors", "student.json"}
    weights, own = load(contents["student.safetensors"]), deployment.network.state_dict()
    assert weights.keys() == own.keys()
    assert all(torch.equal(weights[name], own[name]) for name in own)
    put_in_place(tmp_path, [deployment.exports["state-dict"]])
    assert load_student(tmp_path)[1] == deployment.card


def test_each_was_run_on_images_in_several_batches(deployment):
    for export in deployment.exports.values():
        agreement = export.agreement
        assert agreement.images == 256
        assert 1 in agreement.batch_sizes
        assert len(agreement.batch_sizes) >= 3
        assert agreement.probability_difference <= 1e-5
        assert agreement.decided_otherwise <= agreement.near_threshold


def test_a_residual_network_on_images_large_enough_for_channels_last():
    generator = torch.Generator().manual_seed(0)
    shown = torch.randint(0, 256, (20, 3, 16, 16), generator=generator, dtype=torch.uint8)
    network = seeded_model("resnet8", channels=3, classes=10, seed=0).eval()
    statistics = {"channels": 3, "image_size": (16, 16), "mean": (0.4, 0.5, 0.6), "std": (0.2, 0.25, 0.3)}
    _, card = student(architecture="resnet8", **statistics)
    (export,) = export_student(network, card, shown)
    probabilities = answers(network, card, shown).class_logits.double().softmax(dim=1)
    torch.testing.assert_close(export.run(shown).probabilities.double(), probabilities, rtol=0, atol=1e-6)
    model = onnx.load_model_from_string(export.contents["student.onnx"])
    kinds = [node.op_type for node in model.graph.node]
    assert "BatchNormalization" not in kinds  # folded into the convolutions
    assert kinds.count("Conv") == 9


def test_a_file_of_other_weights_is_an_error(monkeypatch):
    """What is written is run: weights that changed on the way are noticed."""
    from preceptor.export import formats

    network, card = student()
    other = formats.ExportModule(student(sharpness=3.0)[0], card)
    traced = formats._traced(other, card)
    monkeypatch.setattr(formats, "_traced", lambda module, card: traced)
    with pytest.raises(MachineError, match=r"student.pt2: differs from the student: .*not written"):
        export_student(network, card, images(), ("pt2",))


def test_without_the_packages_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MachineError, match=r"needs onnx, .*pip install 'preceptor\[onnx\]'"):
        check_formats(["onnx"])
    check_formats(["pt2", "state-dict"])


def test_an_unknown_format_is_refused():
    with pytest.raises(InputError, match="unknown format 'onxx': did you mean 'onnx'"):
        check_formats(["onxx"])


def test_a_decision_the_student_cannot_take_is_refused_before_the_work():
    network, card = student()
    card = card.model_copy(update={"decision": decision("teacher_probability", 0.5)})
    with pytest.raises(InputError, match="score teacher_probability needs the teacher"):
        export_student(network, card, images(), FILES)


def test_a_student_whose_outputs_are_not_finite_is_refused():
    network, card = student()
    with torch.no_grad():
        network.head.bias[0] = float("nan")
    with pytest.raises(InputError, match="outputs for image 0 are not finite"):
        export_student(network, card, images(), ("state-dict",))


def test_an_architecture_that_cannot_be_traced_is_named():
    class Unsteady(torch.nn.Module):
        def forward(self, pixels):
            rows = pixels.flatten(1)[:, :10]
            return rows if rows.sum() > 0 else -rows

    _, card = student()
    with pytest.raises(InputError, match=r"architecture 'convnet4': torch.export cannot trace it \(.+\): export its"):
        export_student(Unsteady(), card, images(), ("pt2",))


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "student.pt2").write_text("dear")
    with pytest.raises(InputError, match=r"student.pt2: exists, and nothing is overwritten"):
        check_places(tmp_path, ["student.onnx", "student.pt2"])
    check_places(tmp_path, ["student.onnx"])
    check_places(tmp_path / "new" / "folder", ["student.pt2"])
    assert [path.name for path in tmp_path.iterdir()] == ["student.pt2"]


def test_a_place_inside_a_file_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("dear")
    with pytest.raises(InputError, match=r"notes.txt: is a file; expected a folder"):
        check_places(tmp_path / "notes.txt" / "deep", ["student.onnx"])


def test_what_is_put_in_place_is_what_was_checked(tmp_path):
    export = Export("onnx", {"student.onnx": b"checked"}, lambda _: None, None)
    put_in_place(tmp_path / "new", [export])
    assert {path.name: path.read_bytes() for path in (tmp_path / "new").iterdir()} == {"student.onnx": b"checked"}
