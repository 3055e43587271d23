"""What a pretrained network takes, whichever library it is of."""

from preceptor.models.bridge import timm_input, torchvision_input
from preceptor.models.hugging_face import hf_input
from preceptor.models.network_input import NetworkInput


def network_input(name: str, channels: int, *, download: bool = False) -> NetworkInput | None:
    """What the pretrained network of a name takes; None where no library states it.

    Args:
        name: of the architecture, as ``build_model`` takes it.
        channels: of the images at hand.
        download: a Hugging Face model's settings where the cache lacks them. Default False.

    Raises:
        InputError: an unknown name.
        MachineError: the library is missing or cannot be loaded.
    """
    library, _, model = name.partition(":")
    match library:
        case "timm":
            return timm_input(model, channels)
        case "torchvision":
            return torchvision_input(model)
        case "hf":
            return hf_input(model, channels, download)
    return None
