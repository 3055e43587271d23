"""How a run's encoded images are brought to one size: as its settings say, else as its networks were trained."""

from preceptor.data.images import AS_THEY_ARE, Framing
from preceptor.data.load import holds_encoded_images
from preceptor.models.pretrained import network_input
from preceptor.models.store import CARD_FILE, read_card
from preceptor.run.config import RunConfig

COLORS = 3


def run_framing(config: RunConfig) -> Framing:
    """Size, crop and interpolation of the settings; those unset are the starting student's, else the teacher's.

    Raises:
        InputError: a card that cannot be read, or an unknown network.
        MachineError: a pretrained network's library is missing.
    """
    own = _of_networks(config) if holds_encoded_images(config.data) else AS_THEY_ARE
    return Framing(
        size=own.size if config.image_size is None else config.image_size,
        crop=own.crop if config.crop is None else config.crop,
        interpolation=own.interpolation if config.interpolation is None else config.interpolation,
        exif=config.exif,
    )


def _of_networks(config: RunConfig) -> Framing:
    start = config.student_weights
    if start is not None and start.is_dir():
        return read_card(start / CARD_FILE).framing()
    if start is not None or config.pretrained:
        own = network_input(config.student, COLORS, download=config.download)
        if own is not None:
            square = own.size is not None and own.size[0] == own.size[1]
            return Framing(own.size[0] if own.size is not None and square else None, own.crop, own.interpolation)
    folders = [path for path in config.teachers if (path / CARD_FILE).is_file()]
    return read_card(folders[0] / CARD_FILE).framing() if len(folders) == 1 else AS_THEY_ARE
