"""Trackers by name, as ``--track`` takes them."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from preceptor.errors import InputError, unknown_name
from preceptor.extras import import_extra
from preceptor.integrations.callback import TrackerCallback
from preceptor.integrations.tracker import TRACKERS, TrackedRun, Tracker
from preceptor.run.folder import TENSORBOARD_FOLDER, TRACKING_FOLDER


@contextmanager
def tracking(places: Sequence[str], folder: Path) -> Iterator[list[TrackerCallback]]:
    """Callbacks that track a run, for ``run`` or ``resume`` within the block; the trackers' runs end with it.

    Args:
        places: ``tensorboard``, ``mlflow`` or ``wandb``, each perhaps with a place behind a colon: a folder, in which
            the run has one of its name; a store's URI; a project. By default the folder ``tensorboard`` in that of the
            run, and for the others what their environment variables say.
        folder: of the run.

    Raises:
        InputError: an unknown tracker, one that is named twice, or a run's folder with a link, or without an id of a
            tracker's run, where that should be.
        MachineError: its package is not installed.
    """
    check_trackers(places)
    for path in (folder / TRACKING_FOLDER, folder / TENSORBOARD_FOLDER):
        if path.is_symlink():  # in a folder from somebody else it may lead anywhere
            raise InputError(f"{path}: a link, and a run makes none: remove it")
    with ExitStack() as stack:
        trackers = [_tracker(place, folder) for place in places]
        yield [stack.enter_context(TrackerCallback(tracker, folder)) for tracker in trackers]


def check_trackers(places: Sequence[str]) -> None:
    """Check names and packages before any work; errors as of :func:`tracking`."""
    names = [place.partition(":")[0] for place in places]
    for name in names:
        if name not in TRACKERS:
            raise unknown_name("tracker", name, TRACKERS)
        if names.count(name) > 1:
            raise InputError(f"--track {name} is set twice: give it once")
        import_extra(name, name, f"--track {name}")


def _tracker(spec: str, folder: Path) -> Tracker:
    name, _, place = spec.partition(":")
    kept = TrackedRun(folder / TRACKING_FOLDER / f"{name}.json")
    if name == "mlflow":
        from preceptor.integrations.mlflow import MLflowTracker

        return MLflowTracker(place or None, kept)
    if name == "wandb":
        from preceptor.integrations.wandb import WandbTracker

        return WandbTracker(place or None, kept)
    from preceptor.integrations.tensorboard import TensorBoardTracker

    events = Path(place).expanduser() / folder.resolve().name if place else folder / TENSORBOARD_FOLDER
    return TensorBoardTracker(events, kept)
