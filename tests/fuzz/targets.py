"""What a stranger's bytes are handed to: each target takes bytes, and lets nothing out but the project's own errors.

``tests/fuzz`` drives them by hypothesis, ``benchmarks/fuzz`` by coverage (atheris). Each has seeds, bytes to start
from, of which the first are sound.
"""

import gzip
import json
import shutil
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from preceptor.errors import PreceptorError

Target = Callable[[Path, bytes], None]


@dataclass(frozen=True)
class Fuzzed:
    """An entry point for a stranger's bytes.

    Attributes:
        run: is given an empty folder to work in and the bytes; raises if the entry point does what it must not.
        seeds: sound input.
    """

    run: Target
    seeds: Callable[[], list[bytes]]


TARGETS: dict[str, Fuzzed] = {}


def target(seeds: Callable[[], list[bytes]]) -> Callable[[Target], Target]:
    def add(run: Target) -> Target:
        TARGETS[run.__name__] = Fuzzed(run, seeds)
        return run

    return add


def attempt(name: str, folder: Path, content: bytes) -> None:
    """Run a target in a folder that is emptied first; whatever is no ``PreceptorError`` gets out."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with suppress(PreceptorError):
            TARGETS[name].run(folder, content)


def _recipes() -> list[bytes]:
    from importlib.resources import files

    return [path.read_bytes() for path in sorted(Path(str(files("preceptor.recipes"))).glob("*.yaml"))]


def _settings() -> list[bytes]:
    return [
        b"data: digits\nseed: 1\nrecipe: kd\nprotocol: {epochs: 3, learning_rate: 1e-3}\n",
        b"base: &b {stage: kl}\nrecipe: {terms: {kl: {match: *b, weight: 0.5}}}\nvalidation: 0.2\n",
        b"teacher: [a, b]\nensemble_weights: [1, 2]\nteacher_normalisation: {mean: [0.5], std: [0.1]}\n",
    ]


@target(_recipes)
def recipe(folder: Path, content: bytes) -> None:
    from preceptor.chain import Chain
    from preceptor.recipes import build_chain_parts
    from preceptor.recipes.reader import read_recipe

    path = folder / "my.yaml"
    path.write_bytes(content)
    Chain(**build_chain_parts(read_recipe(path)))


@target(_settings)
def configuration(folder: Path, content: bytes) -> None:
    from preceptor.runs import read_config, resolve

    path = folder / "run.yaml"
    path.write_bytes(content)
    resolve(read_config(path), where=str(path))


@target(
    lambda: [b"seed=1", b"protocol.epochs=5", b"recipe.correct={stage: label_revision, eta: 0.5}", b"teacher=[a,b]"]
)
def override(folder: Path, content: bytes) -> None:
    from preceptor.config import parse_override
    from preceptor.runs import resolve

    resolve({}, [parse_override(content.decode(errors="surrogateescape"))])


_CARD = {
    "architecture": "convnet4",
    "channels": 1,
    "classes": 3,
    "class_names": ["a", "b", "c"],
    "image_size": [8, 8],
    "mean": [0.5],
    "std": [0.25],
    "data": "digits",
    "preceptor": "0.1.0",
}


def _card(**changes: object) -> bytes:
    return json.dumps(_CARD | changes).encode()


def _sound_weights() -> bytes:
    from safetensors.torch import save

    from preceptor.models import seeded_model

    return save(dict(seeded_model("convnet4", channels=1, classes=3, seed=0).state_dict()))


@target(lambda: [_card(), _card(architecture="resnet8x4"), _card(abstains=True, notes={"epoch": "1"})])
def card(folder: Path, content: bytes) -> None:
    from preceptor.models import load_student

    (folder / "student.json").write_bytes(content)
    (folder / "student.safetensors").write_bytes(_sound_weights())
    load_student(folder)


@target(lambda: [_sound_weights(), _sound_weights()[:900]])
def weights(folder: Path, content: bytes) -> None:
    from preceptor.models import load_student

    (folder / "student.json").write_bytes(_card())
    (folder / "student.safetensors").write_bytes(content)
    load_student(folder)


@target(lambda: [_run_record()])
def stopped_run(folder: Path, content: bytes) -> None:
    """A run folder to go on with: its record, or, behind a zero byte, its metrics."""
    from preceptor.runs.resume import _forget_after, _part, _was_compiled
    from preceptor.runs.resume import stopped_run as look

    record, _, metrics = content.partition(b"\0")
    (folder / "run.yaml").write_bytes(record)
    (folder / "metrics.jsonl").write_bytes(metrics)
    _, found = look(folder)
    _was_compiled(found)
    assert all(isinstance(key, str) for key in _part(found, "versions"))
    _forget_after(folder, 1, 1)


def _run_record() -> bytes:
    record = (
        b"config: {recipe: kd, data: digits}\nrecord: {versions: {torch: '2'}, fingerprints: {data: x, teacher: y}}\n"
    )
    return record + b"\0" + b'{"event": "epoch", "epoch": 1, "loss": 0.5}\n{"event": "epoch", "epoch": 2}\n'


@target(lambda: [_checkpoint()])
def checkpoint(folder: Path, content: bytes) -> None:
    """A checkpoint whose checksum is right, for whoever made the bytes can make that too."""
    import hashlib

    from preceptor.training.checkpoint import load

    path = folder / f"epoch-000001-step-00000002-{hashlib.sha256(content).hexdigest()[:16]}.pt"
    path.write_bytes(content)
    load(path, torch.device("cpu"))


def _checkpoint() -> bytes:
    import io

    file = io.BytesIO()
    torch.save({"epoch": 1, "step": 2, "pupils": {"student": {"weight": torch.zeros(3)}}}, file)
    return file.getvalue()


_BANK = {
    "format": 1,
    "preceptor": "0.1.0",
    "layout": {"samples": 4, "views": 2, "classes": 3},
    "fingerprint": {
        "data": "x",
        "views": {"rule": "ViewRule", "padding": 0},
        "class_names": ["a", "b", "c"],
        "teacher": "y",
        "normalisation": {"mean": [0.5], "std": [0.25]},
    },
}


def _banks() -> list[bytes]:
    cells = bytes(4 * 8) + bytes(12 * 8)
    return [json.dumps(_BANK).encode() + b"\0" + cells, json.dumps(_BANK).encode() + b"\0" + b"\x01" * len(cells)]


@target(_banks)
def bank(folder: Path, content: bytes) -> None:
    """The card, and, behind a zero byte, the first file of records."""
    from preceptor.teachers.bank import info, look_into, verify

    words, _, cells = content.partition(b"\0")
    (folder / "bank.json").write_bytes(words)
    if cells:
        (folder / "shard-00000.bin").write_bytes(cells)
    found = look_into(folder)
    info(found)
    if found.layout.cells <= 10_000:
        verify(found, repair=True)
        known = torch.arange(min(2, found.layout.samples))
        if found.store.known((known * found.layout.views).numpy()).all():
            found.recall(known, torch.zeros_like(known))
    found.close()


def _npy(array: np.ndarray) -> bytes:
    import io

    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


@target(lambda: [_npy(np.ones((4, 3), np.float32)), _npy(np.full((4, 3), 1 / 3)), _npy(np.array([[{}] * 3] * 4))])
def logits_npy(folder: Path, content: bytes) -> None:
    _teach_from(folder / "said.npy", content)


@target(lambda: [_parquet(index=np.arange(4)), _parquet(), _parquet(a=["x", "y", "z", "w"])])
def logits_parquet(folder: Path, content: bytes) -> None:
    _teach_from(folder / "said.parquet", content)


def _parquet(**columns: object) -> bytes:
    import io

    import pyarrow
    import pyarrow.parquet

    file = io.BytesIO()
    usual = {name: np.linspace(0, 1, 4) for name in "abc"}
    pyarrow.parquet.write_table(pyarrow.table(usual | columns), file)
    return file.getvalue()


def _teach_from(path: Path, content: bytes) -> None:
    from preceptor.teachers.file import FileTeacher

    path.write_bytes(content)
    for says in ("probabilities", "logits"):
        with suppress(PreceptorError):
            teacher = FileTeacher(path, says=says, images=4, class_names="abc")
            index = torch.arange(4)
            said = teacher.said(torch.zeros(4, 1, 2, 2, dtype=torch.uint8), index, index)
            assert said.isfinite().all()


@target(lambda: [_npy(np.arange(6) % 3), _npy(np.zeros(6)), _npy(np.zeros(6, "m8[s]"))])
def labels(folder: Path, content: bytes) -> None:
    from preceptor.data.labels import read_labels

    (folder / "labels.npy").write_bytes(content)
    read_labels(folder / "labels.npy", 6)


def _npz() -> list[bytes]:
    import io

    file = io.BytesIO()
    images = np.zeros((6, 4, 4), np.uint8)
    np.savez(file, train_images=images, train_labels=np.arange(6) % 3, class_names=np.array(["a", "b", "c"]))
    return [file.getvalue()]


@target(_npz)
def arrays(folder: Path, content: bytes) -> None:
    from preceptor.data import load_dataset

    (folder / "set.npz").write_bytes(content)
    load_dataset(f"arrays:{folder / 'set.npz'}")


@target(lambda: [_scores()])
def scores(folder: Path, content: bytes) -> None:
    from preceptor.runs.scores import load_scores

    (folder / "scores.safetensors").write_bytes(content)
    load_scores(folder / "scores.safetensors")


def _scores() -> bytes:
    from safetensors.torch import save

    origin = {"stage": "el2n", "options": {}, "data": "digits", "data_fingerprint": "x", "teacher_fingerprint": "y"}
    origin |= {"size": 3, "held_out": 0, "checkpoints": 1, "seed": 0, "preceptor": "0.1.0"}
    tensors = {"index": torch.arange(3), "score": torch.zeros(3), "selected": torch.ones(3, dtype=torch.bool)}
    return save(tensors, {"preceptor-scores": json.dumps(origin)})


def _images() -> list[bytes]:
    from tests.bad_input.workbench import encoded, picture, several

    kinds = ("PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP", "PPM")
    return [*(encoded(picture(3), kind) for kind in kinds), several("GIF"), several("TIFF")]


@target(_images)
def image(folder: Path, content: bytes) -> None:
    from preceptor.data.folder import read_folder

    (folder / "photos" / "a").mkdir(parents=True)
    (folder / "photos" / "a" / "1.png").write_bytes(content)
    read_folder(folder / "photos", 8)


def _cifar() -> list[bytes]:
    from tests.data.cifar_pickles import batch

    return [batch(np.zeros((2, 3072), np.uint8), {"fine_labels": [1, 2], "coarse_labels": [0, 0]})]


@target(_cifar)
def cifar(folder: Path, content: bytes) -> None:
    from preceptor.data.cifar_python import read_cifar100_python

    (folder / "cifar-100-python").mkdir()
    for name in ("train", "test"):
        (folder / "cifar-100-python" / name).write_bytes(content)
    read_cifar100_python(folder)


@target(
    lambda: [
        b"\x00\x00\x08\x01\x00\x00\x00\x04\x01\x02\x03\x04",
        b"\x00\x00\x08\x03" + b"\x00\x00\x00\x01" * 3 + b"\x07",
    ]
)
def idx(folder: Path, content: bytes) -> None:
    from preceptor.data.idx import read_idx

    (folder / "file").write_bytes(content)
    read_idx(folder / "file")


@target(lambda: [gzip.compress(seed, mtime=0) for seed in TARGETS["idx"].seeds()])
def idx_gzipped(folder: Path, content: bytes) -> None:
    from preceptor.data.idx import read_idx

    (folder / "file.gz").write_bytes(content)
    read_idx(folder / "file.gz")
