"""Whether the teacher is better than what is quickly learned from the labels alone."""

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor
from torch.nn import functional

from preceptor.data import folds
from preceptor.run.doctor.finding import Finding

MOST_IMAGES = 2000
"""Images that the quick student learns from, at most: that takes some seconds, and little memory."""

FEWEST_IMAGES = 100
"""On fewer, its accuracy says little."""

SIDE = 32
"""Images are shrunk to this side in pixels, at most."""

FOLDS = 5

SHARPNESS, RIDGE = 2.0, 0.1
"""Of the kernel, by the mean squared distance; of the regression. The best of a few on Fashion-MNIST, alike on
digits."""


def quick_student(
    images: UInt8[Tensor, "n channels height width"], labels: Int[Tensor, " n"], seed: int = 0
) -> Bool[Tensor, " n"]:
    """Whether a kernel ridge regression on pixels names each image's label, fitted on other images (five-fold).

    Its kernel is Gaussian, its targets are the classes as one-hot rows. It learns 2,000 images in some seconds, and is
    far from the best student.

    Args:
        images: on any device; equal ones are put into one fold.
        labels: of the images; none is missing.
        seed: of the folds.
    """
    images, labels = images.cpu(), labels.cpu()
    pixels = _shrunk(images)
    distances = torch.cdist(pixels, pixels).square()
    kernel = torch.exp(-SHARPNESS * distances / distances.mean().clamp_min(torch.finfo(torch.float32).tiny))
    target = torch.eye(int(labels.max()) + 1)[labels]
    right = torch.zeros(len(labels), dtype=torch.bool)
    for outside, inside in folds(labels, FOLDS, seed, images=images):
        mean = target[outside].mean(dim=0)
        system = kernel[outside][:, outside] + RIDGE * torch.eye(len(outside))
        weights = torch.linalg.solve(system, target[outside] - mean)
        predicted = (kernel[inside][:, outside] @ weights + mean).argmax(dim=1)
        right[inside] = predicted == labels[inside]
    return right


def _shrunk(images: Tensor) -> Float[Tensor, "n pixels"]:
    height, width = (min(side, SIDE) for side in images.shape[2:])
    parts = [functional.adaptive_avg_pool2d(part.float() / 255, (height, width)) for part in images.split(256)]
    return torch.cat(parts).flatten(1)


def quick_student_finding(teacher: Bool[Tensor, " n"], student: Bool[Tensor, " n"]) -> Finding:
    """Whether the teacher is right more often than a quick student, on the same images.

    A warning where it gains less than two standard errors of the paired difference. The teacher may have learned from
    these images, and the quick student has not: the comparison favors the teacher.
    """
    gain = teacher.double() - student.double()
    accuracies = {"teacher": float(teacher.double().mean()), "quick_student": float(student.double().mean())}
    numbers = {"images": len(gain), **accuracies}
    message = (
        f"the teacher is right on {accuracies['teacher']:.2%} of {len(gain):,} images, a kernel regression on pixels "
        f"that has not seen them on {accuracies['quick_student']:.2%}"
    )
    if float(gain.mean()) > 2 * float(gain.std(correction=0)) / len(gain) ** 0.5:
        return Finding("quick student", "ok", message, "", numbers)
    message += ": a student learns as much from the labels alone, and distillation can gain little"
    remedy = "use a better teacher, or preceptor train; preceptor audit shows where this one still helps"
    return Finding("quick student", "warning", message, remedy, numbers)
