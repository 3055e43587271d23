"""One teacher of any kind: what it is, what tells it from others, and what is refused."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from preceptor.data import Normalization
from preceptor.errors import InputError
from preceptor.run import resolve
from preceptor.run.config import NormalizationConfig
from preceptor.run.members import Member, kind_of, load_members
from preceptor.teachers.cache import CacheKey, Layout, open_cache
from tests.run.kinds import onnx_file, rows_file
from tests.training_helpers import digits

CPU = torch.device("cpu")


def members(*teachers: Path, **settings: Any) -> tuple[Member, ...]:
    return load_members(resolve({"teacher": list(teachers), **settings}), digits(), CPU)


def refused(*teachers: Path, **settings: Any) -> str:
    with pytest.raises(InputError) as caught:
        members(*teachers, **settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("run", "network"),
        ("a.onnx", "ONNX file"),
        ("a.npy", "file"),
        ("a.parquet", "file"),
        ("a.pq", "file"),
        ("gone.pt", "network"),
    ],
)
def test_the_name_tells_the_kind(tmp_path: Path, name: str, kind: str) -> None:
    assert kind_of(tmp_path / name) == kind


def test_a_folder_is_a_run_whatever_it_is_called(tmp_path: Path) -> None:
    (tmp_path / "best.onnx").mkdir()
    assert kind_of(tmp_path / "best.onnx") == "network"


@pytest.mark.parametrize("name", ["teacher.pt", "student.safetensors", "run.yaml", "weights"])
def test_a_file_of_another_kind_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"anything")
    message = f"teacher {tmp_path / name}: not a kind of file that can teach; expected a run folder, FILE.onnx"
    assert refused(tmp_path / name).startswith(message)


def test_a_cache_in_the_place_of_a_teacher(tmp_path: Path) -> None:
    key = CacheKey(teacher="t", data="d", normalization={}, views={}, class_names=("a", "b"))
    open_cache(tmp_path / "cache", key, Layout(samples=2, views=1, classes=2))
    assert refused(tmp_path / "cache") == (
        f"teacher {tmp_path / 'cache'}: holds a cache: give it as --cache, with or without the teacher it is of"
    )


def test_a_file_needs_teacher_output(teacher: Path, tmp_path: Path) -> None:
    for file in (rows_file(teacher, tmp_path / "outputs.npy"), onnx_file(teacher, tmp_path / "teacher.onnx")):
        message = f"{file}: give --teacher-output logits or --teacher-output probabilities: its numbers do not tell"
        assert refused(file) == message
        assert refused(teacher, file) == message


def test_a_network_refuses_teacher_output(teacher: Path) -> None:
    message = refused(teacher, teacher_output="probabilities")
    assert message.startswith(
        "teacher_output = probabilities: is for .onnx, .npy and .parquet files; a run folder's outputs"
    )


def test_a_normalization_is_stated_for_onnx_alone(teacher: Path, tmp_path: Path) -> None:
    stated = {"mean": [0.0], "std": [1.0]}
    rows = rows_file(teacher, tmp_path / "outputs.npy")
    assert refused(teacher, teacher_normalization=stated).startswith("teacher_normalization: is for .onnx files")
    assert refused(rows, teacher_output="logits", teacher_normalization=stated).startswith("teacher_normalization: is")


def test_an_onnx_file_is_shown_images_as_the_data_set_has_them_unless_stated(teacher: Path, tmp_path: Path) -> None:
    file = onnx_file(teacher, tmp_path / "teacher.onnx")
    images, index = digits().train.images[:3], torch.arange(3)
    network = members(teacher)[0]
    usual = members(file, teacher_output="logits")[0]
    assert usual.normalization == digits().normalization
    torch.testing.assert_close(
        usual.teacher.outputs(images, index, index).logits, network.teacher.outputs(images, index, index).logits
    )
    stated = members(file, teacher_output="logits", teacher_normalization={"mean": [0.0], "std": [1.0]})[0]
    assert stated.normalization == Normalization((0.0,), (1.0,))
    logits = stated.teacher.outputs(images, index, index).logits
    assert not torch.allclose(logits, usual.teacher.outputs(images, index, index).logits)
    one = NormalizationConfig(mean=(0.5,), std=(0.25,))
    assert one.normalization(channels=3) == Normalization((0.5,) * 3, (0.25,) * 3)
    assert "expected one of each a channel" in refused(
        file, teacher_output="logits", teacher_normalization={"mean": [0.0, 0.0], "std": [1.0]}
    )


def linear_onnx(path: Path, classes: int = 10, takes: str = "UINT8", external: str | None = None) -> Path:
    onnx = pytest.importorskip("onnx", reason="needs onnx to write models with (extra test)")
    pytest.importorskip("onnxruntime", reason="needs onnxruntime (extra onnx)")
    helper, proto = onnx.helper, onnx.TensorProto
    weight = np.linspace(-1, 1, 64 * classes, dtype=np.float32).reshape(64, classes)
    nodes = [
        helper.make_node("Cast", ["images"], ["pixels"], to=proto.FLOAT),
        helper.make_node("Flatten", ["pixels"], ["rows"]),
        helper.make_node("MatMul", ["rows", "w"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "linear",
        [helper.make_tensor_value_info("images", getattr(proto, takes), ["batch", 1, 8, 8])],
        [helper.make_tensor_value_info("logits", proto.FLOAT, None)],
        [onnx.numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    extra = {"save_as_external_data": True, "location": external, "size_threshold": 0} if external else {}
    onnx.save(model, path, **extra)
    return path


def test_a_graph_that_takes_pixels_gets_pixels(tmp_path: Path) -> None:
    file = linear_onnx(tmp_path / "linear.onnx")
    assert members(file, teacher_output="logits")[0].normalization is None
    message = refused(file, teacher_output="logits", teacher_normalization={"mean": [0.5], "std": [0.5]})
    assert "takes uint8 pixels and normalizes them itself" in message


def test_a_graph_of_other_classes(tmp_path: Path) -> None:
    file = linear_onnx(tmp_path / "linear.onnx", classes=7)
    message = f"teacher {file} has 7 classes, digits has 10: the classes must be the same, in the same order"
    assert refused(file, teacher_output="logits") == message


def test_the_fingerprint_of_a_file_is_of_its_bytes_and_what_they_are(teacher: Path, tmp_path: Path) -> None:
    def fingerprint(path: Path, output: str = "logits") -> str:
        return members(path, teacher_output=output)[0].fingerprint

    rows = rows_file(teacher, tmp_path / "outputs.npy", "probabilities")
    same = Path(shutil.copy(rows, tmp_path / "same.npy"))
    assert fingerprint(rows, "probabilities") == fingerprint(same, "probabilities") != fingerprint(rows, "logits")
    assert len(fingerprint(rows)) == 64
    changed = np.load(rows)
    changed[5] = changed[6]
    np.save(same, changed)
    assert fingerprint(same) != fingerprint(rows)
    assert members(teacher)[0].fingerprint == members(Path(shutil.copytree(teacher, tmp_path / "t")))[0].fingerprint


@pytest.mark.parametrize("name", ["weights.bin", "w" * 180 + ".bin"], ids=["short name", "long name"])
def test_weights_beside_an_onnx_file_count_as_well(tmp_path: Path, name: str) -> None:
    """Their file's name stands in the ONNX file behind a length of one byte, or of two."""
    file = linear_onnx(tmp_path / "linear.onnx", external=name)
    before = members(file, teacher_output="logits")[0].fingerprint
    (tmp_path / "beside.txt").write_text("not of the model")
    assert members(file, teacher_output="logits")[0].fingerprint == before
    weights = bytearray((tmp_path / name).read_bytes())
    weights[-1] ^= 1
    (tmp_path / name).write_bytes(bytes(weights))
    assert members(file, teacher_output="logits")[0].fingerprint != before


def test_several_teachers_keep_their_order(teacher: Path, tmp_path: Path) -> None:
    rows = rows_file(teacher, tmp_path / "outputs.npy")
    loaded = members(rows, teacher, teacher_output="logits")
    assert [member.kind for member in loaded] == ["file", "network"]
    assert [member.path for member in loaded] == [rows, teacher]
