"""Teachers, students, caches and score files."""

from pathlib import Path

import numpy as np

from tests.bad_input.workbench import CLASSES, IMAGES, Row, Workbench


def put(row: int, column: int, value: float) -> object:
    def change(rows: np.ndarray) -> None:
        rows[row, column] = value

    return change


def onnx_beside(bench: Workbench, name: bytes) -> list[object]:
    """What a model looks like whose weights lie in a file of this name."""
    content = b"\x08\x0a\x3a\x40\n\x08location\x12" + bytes([len(name)]) + name
    return bench.taught_by(bench.file("teacher.onnx", content))


def quietly_taught_by(bench: Workbench, path: Path) -> list[object]:
    """What the doctor's quick check finds would else be lines of their own."""
    return bench.distill("--quiet", "--teacher-output", "logits", teacher=path)


def order(first: int) -> np.ndarray:
    index = np.arange(IMAGES)
    index[first] = index[first + 1]
    return index


def scores(bench: Workbench, content: bytes) -> list[object]:
    return ["select", "--show", bench.file("scores.safetensors", content)]


CACHE = {
    "format": 2,
    "preceptor": "0.1.0",
    "layout": {"samples": 10, "views": 9, "classes": 3},
    "key": {"data": "x", "views": {}, "class_names": ["a", "b", "c"], "teacher": "x", "normalization": {}},
}


def layout(**changes: int) -> dict[str, object]:
    return CACHE | {"layout": {"samples": 10, "views": 9, "classes": 3} | changes}


ROWS = [
    Row(
        "logits with a NaN",
        lambda b: b.taught_by(b.outputs(put(7, 2, np.nan))),
        "outputs.npy: row 7: nan for class 2: expected finite numbers",
    ),
    Row(
        "logits with an infinity",
        lambda b: b.taught_by(b.outputs(put(7, 2, np.inf))),
        "outputs.npy: row 7: inf for class 2: expected finite numbers",
    ),
    Row(
        "the same logits for every image",
        lambda b: b.taught_by(b.rows()),
        (
            "the teacher's logits are the same for all 60 training images, to the last bit: it teaches nothing; "
            "check its weights, its file and the range of its input"
        ),
    ),
    Row(
        "probabilities that are none",
        lambda b: b.taught_by(b.outputs(), "probabilities"),
        (
            "outputs.npy: row 0: -0.132105 for class 1: expected probabilities, which are at least 0: if "
            "these are logits, give them as logits"
        ),
    ),
    Row(
        "logits of fewer images",
        lambda b: b.taught_by(b.rows(images=1000)),
        (
            "outputs.npy: 1000 rows of 10 classes, the training set has 1348 images of 10 classes: give "
            "one row for each image, in their order"
        ),
    ),
    Row(
        "logits of other classes",
        lambda b: b.taught_by(b.rows(classes=9)),
        (
            "outputs.npy: 1348 rows of 9 classes, the training set has 1348 images of 10 classes: give one"
            " row for each image, in their order"
        ),
    ),
    Row(
        "logits of the images in another order",
        lambda b: quietly_taught_by(b, b.right_of(np.random.default_rng(0).permutation(IMAGES))),
        (
            "teacher accuracy: the teacher is right on … of 60 labeled training images, not clearly more than "
            "always predicting one class (10.00%): make sure that it was trained on this data; check its weights, "
            "class order and normalization (train all the same with --force)"
        ),
    ),
    Row(
        "logits with the classes in another order",
        lambda b: quietly_taught_by(b, b.right_of(np.arange(IMAGES), further=1)),
        (
            "teacher accuracy: …; label order: the teacher's classes are in another order than the labels: accuracy "
            "is 0.00% as it is, 100.00% in the best order: class '0' is output 1 ('1'), class '1' is output 2 ('2'), "
            "class '2' is output 3 ('3') and 7 more: bring its outputs, or the labels, into one order; nothing is "
            "reordered for you (train all the same with --force)"
        ),
    ),
    Row(
        "a mean of the teacher's images that is no number",
        lambda b: b.distill("--teacher-mean", "0.5;0.5", "--teacher-std", "1", teacher=b.outputs()),
        (
            "argument --teacher-mean: '0.5;0.5': expected a number, or several with commas between them, such as "
            "0.5,0.5,0.5 (see preceptor distill --help)"
        ),
    ),
    Row(
        "a mean of the teacher's images without a deviation",
        lambda b: b.distill("--teacher-mean", "0.5", teacher=b.outputs()),
        "the configuration: teacher_normalization.std is missing",
    ),
    Row(
        "logits that do not say what they are",
        lambda b: b.distill(teacher=b.outputs()),
        "outputs.npy: give --teacher-output logits or --teacher-output probabilities: its numbers do not tell",
    ),
    Row(
        "a logits file cut short",
        lambda b: b.taught_by(b.file("outputs.npy", b"\x93NUMPY")),
        "outputs.npy: not a readable .npy file of numbers (…); write it with numpy.save",
    ),
    Row(
        "a zero-byte logits file",
        lambda b: b.taught_by(b.file("outputs.npy", b"")),
        "outputs.npy: not a readable .npy file of numbers (…); write it with numpy.save",
    ),
    Row(
        "a logits file that is a pickle",
        lambda b: b.taught_by(b.file("outputs.npy", b"\x80\x04cos\nsystem\n.")),
        (
            "outputs.npy: not a readable .npy file of numbers (it holds pickled objects, which are never "
            "loaded); write it with numpy.save"
        ),
    ),
    Row(
        "a table without a class",
        lambda b: b.taught_by(b.table(**{"3": None})),
        (
            "outputs.parquet: 9 columns for 10 classes (missing: '3'; unknown: none): give one column a "
            "class, named as the class or by its number, and optionally 'index'"
        ),
    ),
    Row(
        "a table of words",
        lambda b: b.taught_by(b.table(**{"3": ["x"] * IMAGES})),
        "outputs.parquet: column '3' is of type string: expected real numbers",
    ),
    Row(
        "a table with an image twice",
        lambda b: b.taught_by(b.table(index=order(5))),
        "outputs.parquet: row 6: index 6, which row 5 has too: give each image once",
    ),
    Row(
        "a table of an image that is not there",
        lambda b: b.taught_by(b.table(index=np.arange(IMAGES) + 1)),
        "outputs.parquet: row 1347: index is 1348; expected 0 to 1347",
    ),
    Row(
        "a table cut short",
        lambda b: b.taught_by(b.file("outputs.parquet", b"PAR1")),
        "outputs.parquet: not a readable Parquet file: …",
    ),
    Row(
        "a teacher with NaN among its weights",
        lambda b: b.distill(teacher=b.not_a_number()),
        (
            "the teacher's logits are not finite for 60 of 60 training images, the first at index "
            "66: check its weights and the range of its input"
        ),
    ),
    Row(
        "a teacher of other classes",
        lambda b: b.distill("--data", b.npz(), "--train-images", "9"),
        (
            "teacher teacher has 10 classes, arrays:set.npz has 3: without names on both sides the classes must be the "
            "same, in the same order"
        ),
    ),
    Row(
        "a teacher without a class of the data",
        lambda b: b.distill(
            "--data",
            b.npz(class_names=np.array(list("abc"))),
            "--train-images",
            "9",
            teacher=b.changed_card(class_names=list("abxdefghij")),
        ),
        (
            "teacher teacher has no class 'c' of arrays:set.npz; it has 'a', 'b', 'x' and 7 more: each class of the "
            "data must be one of the teacher's, by name"
        ),
    ),
    Row(
        "weights of another architecture",
        lambda b: b.distill(teacher=b.changed_card(architecture="convnet8")),
        (
            "teacher/student.safetensors: does not fit architecture 'convnet8': loaded 1 of 17 tensors; of another "
            "shape: head.weight (10, 16) instead of (10, 32), layers.0.0.weight (4, 1, 3, 3) instead of (8, 1, 3, 3), "
            "layers.0.1.bias (4,) instead of (8,), layers.0.1.running_mean (4,) instead of (8,) and 12 more"
        ),
    ),
    Row(
        "an architecture that no memory holds",
        lambda b: b.distill(teacher=b.changed_card(architecture="resnet8x9999")),
        (
            "teacher/student.safetensors: does not fit architecture 'resnet8x9999': loaded 1 of 52 tensors; left as "
            "built: stage1.0.bn1.bias, stage1.0.bn1.running_mean, stage1.0.bn1.running_var, stage1.0.bn1.weight and 46 "
            "more; of another shape: head.weight (10, 16) instead of (10, 639936); unused: layers.0.0.weight, "
            "layers.0.1.bias, layers.0.1.running_mean, layers.0.1.running_var and 11 more"
        ),
    ),
    Row(
        "safetensors cut short",
        lambda b: b.distill(teacher=b.truncated()),
        "teacher/student.safetensors: not a whole safetensors file (…); copy or train it again",
    ),
    Row(
        "zero-byte safetensors",
        lambda b: b.distill(teacher=b.weights(b"")),
        "teacher/student.safetensors: not a whole safetensors file (…); copy or train it again",
    ),
    Row(
        "a pickle called safetensors",
        lambda b: b.distill(teacher=b.weights(b"\x80\x04cos\nsystem\n.")),
        ("teacher/student.safetensors: a pickle, not safetensors; not opened, since a pickle can run any code"),
    ),
    Row(
        "a file of torch.save called safetensors",
        lambda b: b.distill(teacher=b.saved_by_torch()),
        ("teacher/student.safetensors: a pickle, not safetensors; not opened, since a pickle can run any code"),
    ),
    Row(
        "a card cut short",
        lambda b: b.distill(teacher=b.card('{"architecture": "conv')),
        "teacher/student.json: not valid JSON: …",
    ),
    Row(
        "a card of images that no memory holds",
        lambda b: b.distill(teacher=b.changed_card(image_size=[100_000, 100_000])),
        "teacher/student.json: image_size: an image has at most 67,108,864 pixels (given: [100000, 100000])",
    ),
    Row(
        "a card that divides by next to nothing",
        lambda b: b.distill(teacher=b.changed_card(std=[1e-45])),
        "teacher/student.json: std.0 is 1e-45; expected a number greater than or equal to 0.000000000001",
    ),
    Row(
        "a card with an unknown key",
        lambda b: b.distill(teacher=b.changed_card(clases=3)),
        ("unknown key in teacher/student.json 'clases': did you mean 'classes'? known: …"),
    ),
    Row(
        "a folder without a network",
        lambda b: b.distill(teacher=b.folder),
        "student.json: no such file: the folder holds no complete student",
    ),
    Row(
        "weights of torch.save as teacher",
        lambda b: b.distill(teacher=b.file("teacher.pt", b"PK")),
        (
            "teacher teacher.pt: not a kind of file that can teach; expected a run folder, FILE.onnx, FILE.npy or "
            "FILE.parquet"
        ),
    ),
    Row(
        "bytes called ONNX",
        lambda b: b.taught_by(b.file("teacher.onnx", b"\x00\x01")),
        "teacher.onnx: ONNX Runtime cannot open it: …",
    ),
    Row(
        "an ONNX file that reaches out of its folder",
        lambda b: onnx_beside(b, b"../../secret.bin"),
        ("teacher.onnx: wants weights from '../../secret.bin', outside its own folder: not opened; export it again"),
    ),
    Row(
        "a cache whose card is cut short",
        lambda b: b.distill("--cache", b.file("cache.json", b"{").parent),
        "cache.json: not valid JSON: …: remove the cache and fill it again",
    ),
    Row(
        "a cache of more entries than can be",
        lambda b: b.cache(layout(samples=10**18)),
        (
            "cache/cache.json: layout: 1000000000000000000 samples of 9 views: at most "
            "281474976710656 entries are allowed (given: {'samples': 1000000000000000000, 'views': 9, 'classes': 3})"
        ),
    ),
    Row(
        "a cache without its entries",
        lambda b: b.cache(layout()),
        "cache/entries.bin: damaged: 0 bytes, expected 1080: remove the cache and fill it again",
    ),
    Row(
        "a cache of larger records than can be",
        lambda b: b.cache(layout(classes=10**10)),
        (
            "cache/cache.json: layout: 10000000000 classes: a record larger than 1 GiB "
            "(given: {'samples': 10, 'views': 9, 'classes': 10000000000})"
        ),
    ),
    Row(
        "a cache of another format",
        lambda b: b.cache(CACHE | {"format": 1}),
        "cache/cache.json: format 1, this version reads format 2: remove the cache and fill it again",
    ),
    Row(
        "scores that are none",
        lambda b: scores(b, b"\x10" * 50),
        "scores.safetensors: not a whole score file: …: write one with preceptor select",
    ),
]
assert CLASSES == 10
