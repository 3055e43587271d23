"""Ways to get a teacher wrong that is a file, several, or behind a bank."""

from tests.cli.conftest import SMALL
from tests.cli.slips import Slip

KINDS = [
    Slip(
        "rows that say nothing of themselves",
        lambda b: b.distill(teacher=b.rows()),
        ("said.npy", "say what its numbers are", "--teacher-says"),
    ),
    Slip(
        "rows of other images",
        lambda b: b.distill("--teacher-says", "logits", teacher=b.rows(images=1000)),
        ("said.npy", "1000 rows of 10 classes", "1348 images"),
    ),
    Slip(
        "rows of other classes",
        lambda b: b.distill("--teacher-says", "logits", teacher=b.rows(classes=9)),
        ("said.npy", "1348 rows of 9 classes", "10 classes"),
    ),
    Slip(
        "rows that are no probabilities",
        lambda b: b.distill("--teacher-says", "probabilities", teacher=b.rows()),
        ("said.npy", "row 0", "sums to", "if these are logits"),
    ),
    Slip(
        "rows cut short",
        lambda b: b.distill("--teacher-says", "logits", teacher=b.file("said.npy", b"\x93NUMPY")),
        ("said.npy", "not a readable .npy"),
    ),
    Slip(
        "no parquet",
        lambda b: b.distill("--teacher-says", "logits", teacher=b.file("said.parquet", b"PAR1")),
        ("said.parquet",),
    ),
    Slip(
        "no onnx",
        lambda b: b.distill("--teacher-says", "logits", teacher=b.file("teacher.onnx", b"\x00\x01")),
        ("teacher.onnx", "ONNX Runtime cannot open it"),
    ),
    Slip(
        "no onnx there",
        lambda b: b.distill("--teacher-says", "logits", teacher=b.folder / "gone.onnx"),
        ("gone.onnx", "no such file"),
    ),
    Slip(
        "a file of weights",
        lambda b: b.distill(teacher=b.file("teacher.pt", b"PK")),
        ("teacher.pt", "cannot teach", "FILE.onnx"),
    ),
    Slip(
        "one of two is gone",
        lambda b: b.distill("--teacher", b.folder / "gone"),
        ("gone: no such folder", "give the folder"),
    ),
    Slip("no bank", lambda b: ["distill", *SMALL, "--bank", b.folder / "gone", "--out", b.out], ("bank.json",)),
    Slip(
        "a bank in front of rows",
        lambda b: b.distill("--teacher-says", "logits", "--bank", b.folder / "bank", teacher=b.rows()),
        ("said.npy already holds all", "leave --bank away"),
    ),
    Slip(
        "a damaged bank",
        lambda b: b.distill("--bank", b.file("bank.json", b"{").parent),
        ("bank.json", "not valid JSON", "remove the bank"),
    ),
    Slip(
        "top k of no bank",
        lambda b: b.distill("--bank-top-k", "3"),
        ("bank_top_k = 3", "give --bank"),
    ),
]
