"""Feature losses before the first step: their layers are found, the networks hooked, and their adapters built."""

from collections.abc import Sequence

import torch

from preceptor.component_types import declares
from preceptor.data.randomness import own_generators
from preceptor.models.features import FeatureModel, feature_layers, pooled_layers
from preceptor.teachers.base import Teacher
from preceptor.training.batches import TrainingData
from preceptor.training.student import Student
from preceptor.training.teacher_feed import check_gives_features, teacher_with_features


def set_up_features(
    students: Sequence[Student], teacher: Teacher | None, data: TrainingData, seed: int
) -> tuple[list[FeatureModel], Teacher | None]:
    """Resolve the layers of feature losses, hook the networks, and build the adapters from a probe batch.

    Returns:
        the networks, which return features too; and the teacher, set up to do so.

    Raises:
        InputError: layers or shapes that do not fit, or a teacher without the features that are compared.
    """
    losses = [student.loss for student in students]
    check_gives_features(teacher, losses)
    for student in students:
        for loss in student.loss.feature_losses.values():
            stages = getattr(teacher, "feature_layers", ())
            if declares(loss, "pooled_maps"):
                loss.resolve_layers(pooled_layers(student.network), getattr(teacher, "pooled_layers", stages[-1:]))
            else:
                loss.resolve_layers(feature_layers(student.network), stages)
    teacher = teacher_with_features(teacher, losses)
    models = [FeatureModel(student.network, student.loss.student_layers) for student in students]
    if not any(model.layers for model in models):
        return models, teacher
    assert teacher is not None, "a feature loss uses the teacher"
    index = data.index[:2]
    probe, view = data.probe(2), torch.full_like(index, data.augmentation.identity)
    with torch.no_grad(), own_generators(data.device):
        features = teacher.outputs(probe, index, view).features
        for student, model in zip(students, models, strict=True):
            student.network.eval()  # running statistics must not see the probe
            torch.manual_seed(seed)  # adapters start alike in a run and its resume
            student.loss.build_adapters(model(probe)[1], features)
            student.to(data.device).train()
    return models, teacher
