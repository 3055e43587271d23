"""Where bad input is made: sound things of every kind, each spoilt in one place."""

import io
import json
import os
import shutil
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from tests.cli.conftest import SMALL
from tests.cli.slips import Bench

IMAGES, CLASSES = 1348, 10
"""Of digits, which the sound teacher has learned."""


class Workbench(Bench):
    """A folder of one's own, and a sound teacher."""

    def photos(self, **spoilt: bytes) -> Path:
        """Two classes of three images; ``cat_4=content`` adds a fourth, ``cat/4.png``, of that content."""
        for label, name in enumerate(("cat", "dog")):
            (self.folder / "photos" / name).mkdir(parents=True, exist_ok=True)
            for number in range(3):
                place = self.folder / "photos" / name / f"{number}.png"
                place.write_bytes(encoded(picture(10 * label + number)))
        for where, content in spoilt.items():
            name, number = where.split("_")
            (self.folder / "photos" / name / f"{number}.png").write_bytes(content)
        return self.folder / "photos"

    def on_photos(self, *arguments: object, folder: Path | None = None, **spoilt: bytes) -> list[object]:
        where = self.photos(**spoilt) if folder is None else folder
        return self.train("--data", f"folder:{where}", *arguments)

    def outputs(self, change: Callable[[np.ndarray], object] = lambda rows: None, classes: int = CLASSES) -> Path:
        """Logits of a made-up teacher of digits, changed in place."""
        rows = np.random.default_rng(0).normal(size=(IMAGES, classes)).astype(np.float32)
        change(rows)
        np.save(self.folder / "outputs.npy", rows)
        return self.folder / "outputs.npy"

    def right_of(self, images: np.ndarray, further: int = 0) -> Path:
        """Logits that are right, if images and classes are put into another order: row by row, and so much further."""
        from preceptor.data import load_dataset

        answers = (load_dataset("digits").train.labels.numpy()[images] + further) % CLASSES
        np.save(self.folder / "outputs.npy", 5 * np.eye(CLASSES, dtype=np.float32)[answers])
        return self.folder / "outputs.npy"

    def stopped(self, folder: str = "run") -> Path:
        """The run of the sound teacher, as if it had been stopped before its end."""
        run = Path(shutil.copytree(self.sound_teacher, self.folder / folder))
        lines = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
        (run / "metrics.jsonl").write_text("".join(lines[:-1]))
        return run

    def without_student(self) -> Path:
        """The same, before its end: it has written no student."""
        run = self.stopped()
        for name in ("student.safetensors", "student.json"):
            (run / name).unlink()
        return run

    def table(self, **columns: object) -> Path:
        """As a Parquet file, a column a class, some of them replaced."""
        import pyarrow
        import pyarrow.parquet

        rows = np.random.default_rng(0).normal(size=(IMAGES, CLASSES))
        usual = {str(number): rows[:, number] for number in range(CLASSES)}
        given = {name: values for name, values in (usual | columns).items() if values is not None}
        pyarrow.parquet.write_table(pyarrow.table(given), self.folder / "outputs.parquet")
        return self.folder / "outputs.parquet"

    def taught_by(self, path: Path, says: str = "logits") -> list[object]:
        return self.distill("--teacher-output", says, teacher=path)

    def labels(self, array: np.ndarray) -> list[object]:
        np.save(self.folder / "labels.npy", array, allow_pickle=True)
        return self.train("--train-labels", self.folder / "labels.npy")

    def labels_text(self, name: str, content: str) -> list[object]:
        """Training on labels from a text file."""
        (self.folder / name).write_text(content)
        return self.train("--train-labels", self.folder / name)

    def labels_by_key(self, key: str, **arrays: np.ndarray) -> list[object]:
        """Training on one of several arrays of labels."""
        np.savez(self.folder / "labels.npz", **arrays)
        return self.train("--train-labels", f"{self.folder / 'labels.npz'}{key}")

    def config(self, text: str | bytes) -> list[object]:
        content = text.encode() if isinstance(text, str) else text
        return self.train("--config", self.file("run.yaml", content))

    def cache(self, content: object) -> list[object]:
        (self.folder / "cache").mkdir()
        self.file("cache/cache.json", json.dumps(content).encode())
        return ["cache", self.folder / "cache", "--info"]

    def saved_by_torch(self) -> Path:
        file = io.BytesIO()
        torch.save({"weight": torch.zeros(3)}, file)
        return self.weights(file.getvalue())

    def readable_only(self) -> Path:
        """A folder that nobody may write to."""
        folder = self.folder / "locked"
        folder.mkdir()
        folder.chmod(0o555)
        return folder / "run"


@dataclass(frozen=True)
class Row:
    """One thing that is wrong, how it is handed in, and all that is said of it.

    ``says`` is the whole line but for its beginning "preceptor: "; the folder of the test is left out of it, and "…"
    stands for words that are a library's or the machine's own.
    """

    wrong: str
    command: Callable[[Workbench], list[object]]
    says: str
    code: int = 2
    during: Callable[[Workbench], AbstractContextManager[object]] = lambda bench: nullcontext()


def picture(seed: int, size: int = 8, channels: int = 3) -> np.ndarray:
    shape = (size, size) if channels == 1 else (size, size, channels)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def encoded(pixels: np.ndarray | Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(file, kind, **options)
    return file.getvalue()


def several(kind: str) -> bytes:
    """An animation, or a stack of pages."""
    return encoded(picture(7), kind, save_all=True, append_images=[Image.fromarray(picture(n)) for n in (8, 9)])


def png_of_size(width: int, height: int) -> bytes:
    """A few bytes that say they are so many pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def bomb(levels: int = 12, width: int = 12) -> str:
    """A dozen lines that come to a dozen to the power of a dozen values."""
    lines = ["x0: &x0 [1, 1]"]
    lines += [f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * width)}]" for n in range(1, levels)]
    return "\n".join(lines) + "\n"


@contextmanager
def without_privileges(bench: Workbench) -> Iterator[None]:
    """As a user whom the system refuses something: root it refuses nothing."""
    if os.geteuid() != 0:
        yield
        return
    opened = [folder for folder in (bench.folder, *bench.folder.parents) if folder.stat().st_mode & 0o055 != 0o055]
    modes = {folder: folder.stat().st_mode for folder in opened}
    for folder in opened:
        folder.chmod(modes[folder] | 0o055)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
        for folder, mode in modes.items():
            folder.chmod(mode)


@contextmanager
def another_run(bench: Workbench) -> Iterator[None]:
    """A run goes on in the folder; to the system it is the same from another process (``tests/runs/test_lock.py``)."""
    from preceptor.run.lock import held

    with held(bench.out):
        (bench.out / "run.yaml").write_text("config: {}\n")
        yield


@contextmanager
def no_memory_left(bench: Workbench) -> Iterator[None]:
    """Where the network is made, more is asked of torch than any machine has."""
    import pytest

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("preceptor.run.students.seeded_model", lambda *_, **__: torch.empty(2**58))
        yield


@contextmanager
def no_memory_for_a_step(bench: Workbench) -> Iterator[None]:
    """As when a batch is too large, which is found out with the folder of the run at hand."""
    import pytest

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("preceptor.training.student.StudentTrainer.train_step", lambda *_: torch.empty(2**58))
        yield


__all__ = ["SMALL", "Row", "Workbench"]
