import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from preceptor.data import Normalization
from preceptor.errors import InputError, MachineError
from preceptor.teachers.base import Teacher
from preceptor.teachers.onnx import OnnxTeacher
from tests.teachers.fixed_rows import logits_of, shown

onnx = pytest.importorskip("onnx", reason="needs onnx to write models with (extra test)")
pytest.importorskip("onnxruntime", reason="needs onnxruntime (extra onnx)")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

SHAPE = (3, 4, 4)
NORMALIZE = Normalization((0.5, 0.4, 0.3), (0.2, 0.25, 0.5))
WEIGHT = np.random.default_rng(1).normal(size=(5, 48)).astype(np.float32)
BIAS = np.arange(5, dtype=np.float32)

FLOAT, UINT8 = TensorProto.FLOAT, TensorProto.UINT8
LOGITS = [
    helper.make_node("Flatten", ["pixels"], ["rows"]),
    helper.make_node("Gemm", ["rows", "w", "b"], ["logits"], transB=1),
]
CAST = [helper.make_node("Cast", ["images"], ["pixels"], to=FLOAT)]
SOFTMAX = [helper.make_node("Softmax", ["logits"], ["shares"], axis=1)]


def classifier(
    folder, *, batch="batch", takes=FLOAT, nodes=(*CAST, *LOGITS), outputs=("logits",), shape=SHAPE, more=()
):
    """A linear classifier of five classes in a file."""
    graph = helper.make_graph(
        list(nodes),
        "classifier",
        [helper.make_tensor_value_info("images", takes, [batch, *shape]), *more],
        [helper.make_tensor_value_info(name, FLOAT, None) for name in outputs],
        [numpy_helper.from_array(WEIGHT, "w"), numpy_helper.from_array(BIAS, "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, folder / "teacher.onnx")
    return folder / "teacher.onnx"


def teacher(path, output_kind="logits", image_shape=SHAPE, normalize=NORMALIZE, **options):
    return OnnxTeacher(path, output_kind=output_kind, image_shape=image_shape, normalize=normalize, **options)


def refused(path, **options):
    with pytest.raises(InputError) as caught:
        teacher(path, **options)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


def expected(images):
    return F.linear(images.flatten(1), torch.from_numpy(WEIGHT), torch.from_numpy(BIAS))


def test_it_returns_the_logits_of_normalized_images(tmp_path):
    from_file = teacher(classifier(tmp_path))
    logits = logits_of(from_file, n=6, shape=SHAPE)
    assert isinstance(from_file, Teacher)
    assert from_file.classes == 5
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits, expected(NORMALIZE(shown(6, SHAPE))), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("batch", [1, 2, 3, 7, 16])
def test_a_fixed_batch_says_the_same(tmp_path, batch):
    logits = logits_of(teacher(classifier(tmp_path, batch=batch)), n=7, shape=SHAPE)
    torch.testing.assert_close(logits, expected(NORMALIZE(shown(7, SHAPE))), rtol=1e-5, atol=1e-5)


def test_pixels_are_given_as_they_are_to_a_graph_that_takes_them(tmp_path):
    logits = logits_of(teacher(classifier(tmp_path, takes=UINT8), normalize=None), n=6, shape=SHAPE)
    torch.testing.assert_close(logits, expected(shown(6, SHAPE).float()), rtol=1e-5, atol=1e-2)


@pytest.mark.parametrize(("takes", "error"), [(TensorProto.FLOAT16, 2e-2), (TensorProto.DOUBLE, 1e-5)])
def test_images_come_in_the_precision_of_the_graph(tmp_path, takes, error):
    logits = logits_of(teacher(classifier(tmp_path, takes=takes)), n=6, shape=SHAPE)
    torch.testing.assert_close(logits, expected(NORMALIZE(shown(6, SHAPE))), rtol=1e-3, atol=error)


def test_probabilities_become_logits_when_declared(tmp_path):
    path = classifier(tmp_path, nodes=(*CAST, *LOGITS, *SOFTMAX), outputs=("shares",))
    logits = logits_of(teacher(path, output_kind="probabilities"), n=6, shape=SHAPE)
    wanted = expected(NORMALIZE(shown(6, SHAPE))).softmax(dim=1)
    torch.testing.assert_close(logits.softmax(dim=1), wanted, rtol=1e-4, atol=1e-7)
    assert logits_of(teacher(path, output_kind="logits"), n=6, shape=SHAPE).min() >= 0  # nothing is guessed


def test_logits_are_not_taken_for_probabilities(tmp_path):
    assert "if these are logits, give them as logits" in refused(classifier(tmp_path), output_kind="probabilities")


def test_an_image_it_fails_on_is_named_by_its_position(tmp_path):
    log = [helper.make_node("Log", ["images"], ["pixels"])]
    from_file = teacher(classifier(tmp_path, nodes=(*log, *LOGITS)), normalize=Normalization((-1,) * 3, (1,) * 3))
    from_file.normalize = Normalization((0,) * 3, (1,) * 3)  # black pixels are now at minus infinity
    images = torch.full((2, *SHAPE), 255, dtype=torch.uint8)
    images[1] = 0
    with pytest.raises(InputError, match=r"teacher.onnx: training image 41: "):
        from_file.outputs(images, torch.tensor([8, 41]), torch.zeros(2, dtype=torch.int64))


def test_an_output_is_chosen_by_name(tmp_path):
    path = classifier(tmp_path, nodes=(*CAST, *LOGITS, *SOFTMAX), outputs=("logits", "shares"))
    logits = logits_of(teacher(path, output="logits"), shape=SHAPE)
    torch.testing.assert_close(logits, expected(NORMALIZE(shown(3, SHAPE))), rtol=1e-5, atol=1e-5)
    assert torch.equal(logits_of(teacher(path), shape=SHAPE), logits)  # it is called as what its numbers are
    unnamed = "2 outputs (logits, shares): name that of the classes: --teacher-output-name"
    assert refused(path, output_kind="probabilities") == unnamed
    assert refused(path, output="scores").startswith("no output 'scores': known are logits, shares")


def test_only_one_input_will_do(tmp_path):
    more = [helper.make_tensor_value_info("mask", FLOAT, ["batch", 1])]
    assert refused(classifier(tmp_path, more=more)).startswith("2 inputs (images, mask): expected one")


@pytest.mark.parametrize(("takes", "shape"), [(TensorProto.INT64, SHAPE), (FLOAT, (48,))])
def test_an_input_that_is_no_image_is_refused(tmp_path, takes, shape):
    message = refused(classifier(tmp_path, takes=takes, shape=shape))
    assert message.startswith("input 'images' is tensor(")
    assert "expected [batch, channels, height, width]" in message


def test_images_of_another_size_are_refused(tmp_path):
    message = refused(classifier(tmp_path, shape=(3, 8, "width")), image_shape=SHAPE)
    assert message.startswith("input 'images' takes images of 3 x 8 x any, these are 3 x 4 x 4")


def test_images_that_it_cannot_run_on_are_refused(tmp_path):
    message = refused(classifier(tmp_path, shape=(3, "height", "width")), image_shape=(3, 5, 5))
    assert message.startswith("cannot take 2 images of 3 x 5 x 5 (")


def test_a_batch_fixed_inside_is_noticed(tmp_path):
    one = helper.make_node("Constant", [], ["one"], value=numpy_helper.from_array(np.array([1, 48])))
    nodes = [*CAST, one, helper.make_node("Reshape", ["pixels", "one"], ["rows"]), LOGITS[1]]
    assert refused(classifier(tmp_path, nodes=nodes)).startswith("cannot take 2 images of 3 x 4 x 4 (")


def test_an_output_of_maps_is_refused(tmp_path):
    message = refused(classifier(tmp_path, nodes=CAST, outputs=("pixels",)))
    assert message.startswith(
        "output 'pixels' is an array of shape [2, 3, 4, 4] for 2 images: expected [batch, classes]"
    )


def test_an_output_of_one_row_for_all_is_refused(tmp_path):
    nodes = [*CAST, *LOGITS, helper.make_node("ReduceMean", ["logits"], ["mean"], keepdims=1)]
    assert refused(classifier(tmp_path, nodes=nodes, outputs=("mean",))).startswith(
        "output 'mean' is an array of shape"
    )


def test_a_label_is_no_output(tmp_path):
    nodes = [*CAST, *LOGITS, helper.make_node("ArgMax", ["logits"], ["label"], axis=1)]
    path = classifier(tmp_path, nodes=nodes, outputs=())
    model = onnx.load(path)
    model.graph.output.append(helper.make_tensor_value_info("label", TensorProto.INT64, None))
    onnx.save(model, path)
    assert refused(path).startswith("output 'label' is tensor(int64): expected [batch, classes]")


def test_a_normalization_goes_with_floating_point_and_with_nothing_else(tmp_path):
    assert "give the mean and deviation" in refused(classifier(tmp_path), normalize=None)
    assert "give it no normalization" in refused(classifier(tmp_path, takes=UINT8))


@pytest.mark.parametrize("content", [b"", b"no model", b"\x08\x09"])
def test_a_damaged_file_is_refused(tmp_path, content, capfd):
    (tmp_path / "teacher.onnx").write_bytes(content)
    assert refused(tmp_path / "teacher.onnx").startswith("ONNX Runtime cannot open it: ")
    assert capfd.readouterr().err == ""


def test_a_file_that_is_not_there_is_named(tmp_path):
    assert refused(tmp_path / "teacher.onnx").startswith("no such file")


def test_an_unknown_kind_of_output_is_named(tmp_path):
    with pytest.raises(InputError, match="unknown kind of output 'softmax'"):
        teacher(classifier(tmp_path), output_kind="softmax")


def test_without_onnxruntime_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MachineError, match=r"pip install 'preceptor\[onnx\]'"):
        teacher(Path("teacher.onnx"))


@pytest.mark.parametrize("threads", [1, 2])
def test_it_has_as_many_threads_as_torch(tmp_path, monkeypatch, threads):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    options = teacher(classifier(tmp_path))._session.get_session_options()
    assert options.intra_op_num_threads == threads


def test_a_normalization_for_whatever_takes_floating_point(tmp_path):
    """A data set's own, say, which a graph that takes pixels leaves alone."""
    of_floats = teacher(classifier(tmp_path), normalize=None, default_normalize=NORMALIZE)
    assert of_floats.normalize == NORMALIZE
    torch.testing.assert_close(logits_of(of_floats, shape=SHAPE), logits_of(teacher(classifier(tmp_path)), shape=SHAPE))
    other = Normalization((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    assert teacher(classifier(tmp_path), normalize=other, default_normalize=NORMALIZE).normalize == other
    assert teacher(classifier(tmp_path, takes=UINT8), normalize=None, default_normalize=NORMALIZE).normalize is None


@pytest.mark.parametrize("name", [b"batch", b"logits"], ids=["a dimension", "an output"])
def test_names_that_are_not_utf8_are_refused(tmp_path, name, capfd):
    path = classifier(tmp_path)
    path.write_bytes(path.read_bytes().replace(name, b"\xef" + name[1:]))
    assert "UTF-8" in refused(path) or "cannot open it" in refused(path)
    assert capfd.readouterr() == ("", "")
