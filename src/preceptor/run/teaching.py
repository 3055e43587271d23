"""The last word on the teacher before the first step: does its cache hold enough, and is compiling it worth while."""

import torch

from preceptor.data import Dataset
from preceptor.run.config import RunConfig
from preceptor.run.planned_queries import Coverage, check_coverage, coverage, questions
from preceptor.run.set_up import RunContext
from preceptor.run.teachers import LoadedTeacher, compiled
from preceptor.training.compile import compiling_pays, forward_flops

MOST_FROM_BANK = 0.5
"""A compiled teacher computes whole batches, whatever a cache already holds of them: where one answers more than this
share of a run's questions, it stays as it is."""


def resolve_teacher(config: RunConfig, material: RunContext, compiles_it: bool | None = None) -> LoadedTeacher | None:
    """The teacher as it will teach, once the chain's selection is settled.

    Args:
        config: of the run.
        material: of the run.
        compiles_it: whether its networks are compiled; None is what the length of the run says.

    Raises:
        InputError: a cache without a teacher does not hold all that the run will ask.
    """
    teacher = material.teacher
    if teacher is None:
        return None
    asked = questions(material.loss, material.positions, material.rule, config.training, config.seed)
    found = None if teacher.cache is None else coverage(teacher.cache, asked)
    if teacher.cache is not None and found is not None and not teacher.members:
        check_coverage(teacher.cache, found)
    device, batch_size = material.train.images.device, config.training.batch_size
    if compiles_it is None:
        images = _images(config, material, found)
        compiles_it = compiles(config, teacher, material.dataset, images, batch_size, device)
    if compiles_it:
        return compiled(teacher, config, material.dataset, batch_size)
    return teacher


def _images(config: RunConfig, material: RunContext, found: Coverage | None) -> int:
    """How many images a compiled teacher would be asked about; none where batches would come to it in part."""
    everywhere = bool(material.loss.cpu().teacher_mask(material.positions).all())
    from_bank = 0.0 if found is None else 1 - found.missing / max(1, found.asked)
    if not everywhere or from_bank > MOST_FROM_BANK:
        return 0
    return config.training.epochs * len(material.positions) if found is None else found.missing


def compiles(
    config: RunConfig, teacher: LoadedTeacher, dataset: Dataset, images: int, batch_size: int, device: torch.device
) -> bool:
    """Whether to compile a teacher that will be asked about so many images; see ``training.means.compiling_pays``."""
    if not teacher.networks or teacher.keeps_features or config.compile == "never":
        return False
    if config.compile == "always" or images == 0:
        return config.compile == "always"
    some = dataset.train.images[:1].to(device)
    flops = sum(forward_flops(network.network, network.normalize(some)) for network in teacher.networks)
    return compiling_pays("teacher", flops=flops * images, steps=-(-images // batch_size), device=device)
