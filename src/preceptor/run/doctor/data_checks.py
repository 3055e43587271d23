"""The data: its labels, and images that occur more than once."""

import hashlib
from dataclasses import asdict, dataclass

import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from preceptor.context import UNLABELED
from preceptor.data import ImageSet
from preceptor.run.doctor.finding import Finding

NAMED_AT_MOST = 3


def labels_finding(labels: Int[Tensor, " n"], class_names: tuple[str, ...]) -> Finding:
    """The labels trained on: of several classes, of each class, and how many are missing.

    Args:
        labels: of the samples trained on; -1 where there is none.
        class_names: of all classes.
    """
    counts = torch.bincount(labels[labels != UNLABELED].cpu(), minlength=len(class_names))
    unlabeled, missing = int((labels == UNLABELED).sum()), (counts == 0).nonzero().flatten().tolist()
    numbers = {
        "images": len(labels),
        "unlabeled": unlabeled,
        "classes": len(class_names),
        "classes_without_image": len(missing),
        "smallest_class": int(counts.min()),
        "largest_class": int(counts.max()),
    }
    found = f"{len(labels):,} images are trained on, {unlabeled:,} of them without a label"
    if unlabeled == len(labels):
        remedy = "only a term that matches the teacher can teach them: give labels, or make sure that is meant"
        return Finding("labels", "warning", found, remedy, numbers)
    if len(missing) == len(class_names) - 1:
        only = class_names[int(counts.argmax())]
        remedy = "give images of two classes at least, or mend the labels"
        return Finding("labels", "problem", f"{found}, and all others are of class {only!r}", remedy, numbers)
    if missing:
        found += f", and none of class {few([repr(class_names[label]) for label in missing])}"
        return Finding("labels", "warning", found, "train on more images, or take the class out", numbers)
    spread = f"of {len(class_names)} classes with {int(counts.min()):,} to {int(counts.max()):,} labeled images each"
    return Finding("labels", "ok", f"{found}, {spread}", "", numbers)


@dataclass(frozen=True)
class Duplicates:
    """Images that are the same in every pixel.

    Attributes:
        extra: training images that an earlier one repeats.
        otherwise_labeled: training images whose label differs from that of the first image that is the same.
        first_pair: positions of the first two such, that is with different labels; None without any.
        in_test: training images that are in the test set as well.
        held_out_too: images trained on that are among the held-out ones as well.
    """

    extra: int
    otherwise_labeled: int
    first_pair: tuple[int, int] | None
    in_test: int
    held_out_too: int


def duplicates(train: ImageSet, test: ImageSet | None, held_out: Int[Tensor, " m"]) -> Duplicates:
    """Find images that are the same in every pixel, by a hash of 128 bits.

    Args:
        train: all training images and labels, on the CPU.
        test: the same of the test set.
        held_out: positions of the training images that are only measured.
    """
    seen = _digests(train.images)
    first: dict[bytes, int] = {}
    for position, digest in enumerate(seen):
        first.setdefault(digest, position)
    labels = train.labels.tolist()
    labeled = [(first[digest], position) for position, digest in enumerate(seen) if first[digest] != position]
    pairs = [(a, b) for a, b in labeled if UNLABELED not in (labels[a], labels[b]) and labels[a] != labels[b]]
    aside = set(held_out.tolist())
    kept = {seen[position] for position in aside}
    tested = set(() if test is None else _digests(test.images))
    return Duplicates(
        extra=len(labeled),
        otherwise_labeled=len(pairs),
        first_pair=pairs[0] if pairs else None,
        in_test=sum(digest in tested for digest in seen),
        held_out_too=sum(digest in kept for position, digest in enumerate(seen) if position not in aside),
    )


def duplicates_finding(found: Duplicates) -> Finding:
    """Whether repeated images contradict each other, or make what is measured look better than it is."""
    says, do = [], []
    if found.first_pair is not None:
        says.append(
            f"{found.otherwise_labeled:,} with another label, the first at positions %d and %d" % found.first_pair
        )
        do.append("look which label is right")
    leaks = {"the test set": found.in_test, "the held-out images": found.held_out_too}
    for name, count in leaks.items():
        if count:
            says.append(f"{count:,} training images are in {name} as well")
            do.append(f"take them out of {name}, since it is to hold images that nobody was taught")
    status, repeated = "warning" if says else "ok", f"{found.extra:,} training images repeat an earlier one"
    sentence = "; ".join([repeated, *says])
    return Finding("duplicates", status, sentence, "; ".join(do), asdict(found))  # type: ignore[arg-type]


def few(names: list[str]) -> str:
    """The first few of some names, and how many more there are."""
    rest = len(names) - NAMED_AT_MOST
    return ", ".join(names[:NAMED_AT_MOST]) + (f" and {rest:,} more" if rest > 0 else "")


def _digests(images: UInt8[Tensor, "n channels height width"]) -> list[bytes]:
    rows = images.cpu().contiguous().numpy()
    return [hashlib.blake2b(row.data, digest_size=16).digest() for row in rows]
