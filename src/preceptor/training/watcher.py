"""What wants to know how training goes, for example a progress bar."""

from typing import Protocol


class Watcher(Protocol):
    """Told about training while it happens. Nothing it is handed lives on a device."""

    def begin(self, epochs: int, steps: int, images: int) -> None:
        """Training begins: so many epochs of so many steps over so many images."""

    def step(self, epoch: int, images: int) -> None:
        """A step over so many images has been issued in this epoch (counted from 1)."""

    def losses(self, pupil: str, losses: dict[str, float]) -> None:
        """The mean losses of a pupil so far in this epoch; a few times an epoch."""


class Silent:
    """A watcher that does nothing."""

    def begin(self, epochs: int, steps: int, images: int) -> None:
        """Nothing."""

    def step(self, epoch: int, images: int) -> None:
        """Nothing."""

    def losses(self, pupil: str, losses: dict[str, float]) -> None:
        """Nothing."""
