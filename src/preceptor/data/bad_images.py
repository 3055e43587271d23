"""Images that cannot be used, each with its error; among them copies that contradict each other."""

import hashlib
from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from preceptor.context import UNLABELED
from preceptor.data.encoded import digests, opened, side_by_side
from preceptor.data.listing import NO_SET, SPLITS, TRAIN, Listing
from preceptor.errors import InputError


class BadImages:
    """The images of a listing that cannot be used.

    Attributes:
        errors: by position.
        skipped: whether they are left out, rather than an error.
    """

    def __init__(self, listing: Listing, skipped: bool) -> None:
        self.listing, self.skipped = listing, skipped
        self.errors = dict(listing.errors)

    def usable(self) -> NDArray[np.int64]:
        """The rows of all others."""
        mask = self.listing.splits != NO_SET
        mask[list(self.errors)] = False
        return np.flatnonzero(mask)

    def raise_unless_skipped(self) -> None:
        """Once all images were looked at, so that all of them can be mended before the next attempt."""
        if self.errors and not self.skipped:
            first = min(map(str, self.errors.values()))
            others = f"; {len(self.errors)} files cannot be used" if len(self.errors) > 1 else ""
            raise InputError(f"{first}{others}; --skip-bad-images goes on without")

    def check_left(self) -> None:
        """Skipping must not remove a whole class, validation set or test set."""
        listing, usable = self.listing, self.usable()
        for split, name in enumerate(SPLITS):
            of_split = listing.splits == split
            if of_split.any() and not (listing.splits[usable] == split).any():
                raise self._none_left(of_split, f"{name} images" if split != TRAIN else "images")
        of_train = listing.splits == TRAIN
        kept = listing.labels[usable][of_train[usable]]
        for label in np.setdiff1d(listing.labels[of_train], [*kept, UNLABELED]).tolist():
            of_class = of_train & (listing.labels == label)
            raise self._none_left(of_class, f"images of class {listing.class_name(label)!r}")

    def _none_left(self, mask: NDArray[np.bool_], what: str) -> InputError:
        reasons = sorted(str(error) for position, error in self.errors.items() if mask[position])
        return InputError(
            f"{self.listing.where}: none of its {len(reasons)} {what} can be used; the first: {reasons[0]}"
        )


def note_contradictions(listing: Listing, bad: BadImages) -> None:
    """Note each image that is, byte for byte, also in another class, or also in a later one of ``SPLITS``.

    An image that is twice in one class of one set is none: it counts twice. An unlabeled image is in no class.
    """
    rows = bad.usable()
    values = digests(listing.source, rows, bad.errors)
    readable = np.array([position not in bad.errors for position in rows.tolist()], dtype=bool)
    # Half of a digest leaves few enough of other contents, which the whole contents tell apart.
    rows = _of_several_kinds(listing, rows[readable], values[readable].view(np.uint64)[:, 0])
    copies: defaultdict[bytes, list[int]] = defaultdict(list)
    for position, digest in zip(
        rows.tolist(), side_by_side(lambda one: _content_digest(listing, one), rows.tolist()), strict=True
    ):
        if digest is not None:
            copies[digest].append(position)
    for group in copies.values():
        _note_contradicted(listing, group, bad)


def _of_several_kinds(listing: Listing, rows: NDArray[np.int64], key: NDArray[np.uint64]) -> NDArray[np.int64]:
    """The rows whose key is also that of an image of another class or set."""
    groups, number = np.unique(key, return_inverse=True)
    kind = listing.labels[rows] * len(SPLITS) + listing.splits[rows]
    lowest = np.full(len(groups), np.iinfo(np.int64).max)
    highest = np.full(len(groups), np.iinfo(np.int64).min)
    np.minimum.at(lowest, number, kind)
    np.maximum.at(highest, number, kind)
    several: NDArray[np.int64] = rows[(lowest != highest)[number]]
    return several


def _content_digest(listing: Listing, position: int) -> bytes | None:
    """Of the whole content; None of an empty one, which has nothing to be the same."""
    with opened(listing.source, position) as file:
        digest = hashlib.sha256()
        while part := file.read(2**20):
            digest.update(part)
        return digest.digest() if file.tell() else None


def _note_contradicted(listing: Listing, copies: list[int], bad: BadImages) -> None:
    """Note those of the copies of one image that others contradict."""
    labels, splits = listing.labels[copies].tolist(), listing.splits[copies].tolist()
    # The first copy of each class and of each set, in their order.
    of_label = {label: copy for copy, label in sorted(zip(copies, labels, strict=True), reverse=True)}
    of_split = {split: copy for copy, split in sorted(zip(copies, splits, strict=True), reverse=True)}
    of_label.pop(UNLABELED, None)
    for copy, label, split in zip(copies, labels, splits, strict=True):
        other_class = min((first for one, first in of_label.items() if one != label != UNLABELED), default=None)
        later = min((first for one, first in of_split.items() if one > split), default=None)
        if other_class is not None:
            bad.errors[copy] = InputError(
                f"{listing.path(copy)}: the same image as {listing.path(other_class)}, of another class; keep it in "
                "the right one"
            )
        elif later is not None:
            bad.errors[copy] = InputError(
                f"{listing.path(copy)}: the same image as {listing.path(later)}, of the "
                f"{SPLITS[listing.splits[later]]} set; keep one of the two"
            )
