"""Ways to get a teacher wrong that is a file, several, or behind a cache."""

from tests.cli.conftest import SMALL
from tests.cli.slips import Slip

COMPONENT_TYPES = [
    Slip(
        "rows that say nothing of themselves",
        lambda b: b.distill(teacher=b.rows()),
        ("outputs.npy", "its numbers do not tell", "--teacher-output"),
    ),
    Slip(
        "rows of other images",
        lambda b: b.distill("--teacher-output", "logits", teacher=b.rows(images=1000)),
        ("outputs.npy", "1000 rows of 10 classes", "1348 images"),
    ),
    Slip(
        "rows of other classes",
        lambda b: b.distill("--teacher-output", "logits", teacher=b.rows(classes=9)),
        ("outputs.npy", "1348 rows of 9 classes", "10 classes"),
    ),
    Slip(
        "rows that are no probabilities",
        lambda b: b.distill("--teacher-output", "probabilities", teacher=b.rows()),
        ("outputs.npy", "row 0", "sums to", "if these are logits"),
    ),
    Slip(
        "rows cut short",
        lambda b: b.distill("--teacher-output", "logits", teacher=b.file("outputs.npy", b"\x93NUMPY")),
        ("outputs.npy", "not a readable .npy"),
    ),
    Slip(
        "no parquet",
        lambda b: b.distill("--teacher-output", "logits", teacher=b.file("outputs.parquet", b"PAR1")),
        ("outputs.parquet",),
    ),
    Slip(
        "no onnx",
        lambda b: b.distill("--teacher-output", "logits", teacher=b.file("teacher.onnx", b"\x00\x01")),
        ("teacher.onnx", "ONNX Runtime cannot open it"),
    ),
    Slip(
        "no onnx there",
        lambda b: b.distill("--teacher-output", "logits", teacher=b.folder / "gone.onnx"),
        ("gone.onnx", "no such file"),
    ),
    Slip(
        "an archive of arrays",
        lambda b: b.distill("--teacher-output", "logits", teacher=b.file("logits.npz", b"PK")),
        ("logits.npz", "cannot teach", "numpy.save"),
    ),
    Slip(
        "a file of weights",
        lambda b: b.distill(teacher=b.file("teacher.pt", b"PK")),
        ("teacher.pt", "not a kind of file that can teach", "FILE.onnx"),
    ),
    Slip(
        "one of two is gone",
        lambda b: b.distill("--teacher", b.folder / "gone"),
        ("gone: no such folder", "give the folder"),
    ),
    Slip("no cache", lambda b: ["distill", *SMALL, "--cache", b.folder / "gone", "--out", b.out], ("cache.json",)),
    Slip(
        "a cache in front of rows",
        lambda b: b.distill("--teacher-output", "logits", "--cache", b.folder / "cache", teacher=b.rows()),
        ("outputs.npy already holds all", "leave out --cache"),
    ),
    Slip(
        "a damaged cache",
        lambda b: b.distill("--cache", b.file("cache.json", b"{").parent),
        ("cache.json", "not valid JSON", "remove the cache"),
    ),
    Slip(
        "top k of no cache",
        lambda b: b.distill("--cache-top-k", "3"),
        ("cache_top_k = 3", "give --cache"),
    ),
]
