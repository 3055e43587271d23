"""The teachers that our loops listen to: a network made fast, and a cache that is filled."""

from functools import cache
from pathlib import Path

import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from preceptor.models import seeded_model
from preceptor.speed.our_loop import Bench, is_compiled
from preceptor.speed.pairs import RULE
from preceptor.speed.variants import Variant
from preceptor.teachers import NetworkTeacher
from preceptor.teachers.base import Teacher, TeacherOutput
from preceptor.teachers.cache import CacheKey, Layout, LogitCache, open_cache

TEACHER_SEED = 1
_SAMPLES_AT_A_TIME = 64


class Teachers:
    """The teachers of a case, each made when it is first asked for and shared by the variants that want it alike.

    Args:
        bench: what is measured.
        folder: for a cache.
    """

    def __init__(self, bench: Bench, folder: Path) -> None:
        self._bench, self._folder = bench, folder
        self._live = cache(self._made_fast)
        self._bank: LogitCache | None = None

    def of(self, variant: Variant) -> Teacher | None:
        """The teacher of a variant; None for a student alone."""
        match variant.source:
            case "live":
                return self._live(variant.bf16_teacher, variant.fp32)
            case "cache":
                self._bank = self._bank or filled_bank(self._bench, self._folder)
                return self._bank
            case _:
                return None

    def close(self) -> None:
        """Let go of the cache's files."""
        if self._bank is not None:
            self._bank.close()

    def _made_fast(self, bf16: bool | None, eager: bool) -> NetworkTeacher:
        bench, pair = self._bench, self._bench.case.pair
        network = seeded_model(pair.teacher, channels=pair.channels, classes=pair.classes, seed=TEACHER_SEED)
        teacher = NetworkTeacher(network, pair.normalization, bench.device, classes=pair.classes)
        return teacher.optimize_for_inference(
            bf16=bf16,
            compile=not eager and is_compiled(bench, "teacher", teacher.network),
            batch_size=bench.case.batch_size,
            image_size=(pair.side, pair.side),
        )


class _MadeUpTeacher:
    """OutputKind anything, quickly, to fill a cache with."""

    def __init__(self, classes: int) -> None:
        self.classes = classes
        self._generator = torch.Generator().manual_seed(TEACHER_SEED)

    def outputs(
        self,
        images: UInt8[Tensor, "batch channels height width"],
        index: Int[Tensor, " batch"],
        view: Int[Tensor, " batch"],
    ) -> TeacherOutput:
        """Random logits."""
        return TeacherOutput(torch.randn(len(index), self.classes, generator=self._generator))


def filled_bank(bench: Bench, folder: Path) -> LogitCache:
    """A cache as large as the case's data set, with random logits for every view of the images that are shown.

    Where nothing is shown its files have holes, so that it takes little room on the disk.
    """
    case, train = bench.case, bench.material.train
    layout = Layout(samples=len(train), views=RULE.count, classes=case.pair.classes)
    names = tuple(f"class {number}" for number in range(case.pair.classes))
    fingerprint = CacheKey.of("made up", "made up", case.pair.normalization, RULE, names)
    cache = open_cache(folder, fingerprint, layout, _MadeUpTeacher(case.pair.classes))
    views = torch.arange(RULE.count)
    for some in bench.material.positions[: case.images].split(_SAMPLES_AT_A_TIME):
        index = some.repeat_interleave(RULE.count)
        unseen = train.images[:1].expand(len(index), -1, -1, -1)
        cache.query_and_store(unseen, index, views.repeat(len(some)))
    return cache
