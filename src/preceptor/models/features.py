"""Networks that return features beside their logits, and the wrapper that takes raw images."""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from preceptor.data.dataset import Normalizer
from preceptor.errors import InputError, unknown_name
from preceptor.feature_losses.layers import PRE
from preceptor.models.layout import to_memory_format


class ImageModel(nn.Module):
    """A network together with the normalization and memory layout of its images.

    Args:
        network: maps normalized images [batch, channels, height, width] to logits [batch, outputs], or to an object
            with ``logits``; shared, not copied.
        normalization: of pixels scaled to [0, 1], or none; a ``SizedNormalization`` resizes them to the network's size
            too.
    """

    def __init__(self, network: nn.Module, normalization: Normalizer) -> None:
        super().__init__()
        self.network, self.normalization = network, normalization

    def forward(self, images: Any) -> Float[Tensor, "batch outputs"]:
        """Logits of uint8 images [batch, channels, height, width]."""
        return call_model(self.network, to_memory_format(self.normalization(images)))


class FeatureModel(nn.Module):
    """A network whose call returns its logits and the outputs of some of its layers.

    Forward hooks capture the layers, so any ``nn.Module`` will do; as the features are outputs of the call, it can be
    compiled. With no layers the features are empty.

    Args:
        network: returns logits, or an object with an attribute ``logits``; shared, not copied.
        layers: module paths, as in ``named_modules()``; within the network of an :class:`ImageModel`. ``PATH:pre`` is
            what the last ReLU in the module is applied to, or the layer that the network's attribute
            ``before_activation`` names for it.

    Raises:
        InputError: there is no such module (the nearest path is offered), or no ReLU in it.
    """

    def __init__(self, network: nn.Module, layers: Sequence[str] = ()) -> None:
        super().__init__()
        self.network, self.layers = network, tuple(layers)
        self._captured: dict[str, Tensor] = {}
        self._hooks: list[RemovableHandle] = []
        inner = network.network if isinstance(network, ImageModel) else network
        modules, before = dict(inner.named_modules()), getattr(inner, "before_activation", {})
        for layer in layers:
            path, pre = layer.removesuffix(PRE), layer.endswith(PRE)
            stated = before.get(path) if pre else None
            if path not in modules:
                raise unknown_name(f"layer of {type(inner).__name__}", layer, [name for name in modules if name])
            if pre and stated is None:
                self._capture_before_activation(layer, modules[path])
            else:
                self._hooks.append(modules[stated or path].register_forward_hook(self._capture(layer)))

    def remove_hooks(self) -> None:
        """Leave the network as it came; calls return no features any more."""
        for hook in self._hooks:
            hook.remove()

    def _capture(self, layer: str) -> Any:
        def hook(module: nn.Module, arguments: object, output: object) -> None:
            if not isinstance(output, Tensor):
                raise InputError(
                    f"layer {layer!r} returns {type(output).__name__}; a feature loss compares tensors: choose another"
                )
            self._captured[layer] = output

        return hook

    def _capture_before_activation(self, layer: str, module: nn.Module) -> None:
        activations = [one for one in module.modules() if isinstance(one, nn.ReLU)]
        if not activations:
            raise InputError(
                f"layer {layer!r}: no ReLU module in {type(module).__name__}: name a layer in front of the activation, "
                "without :pre (feature loss review: option activated), or choose another network"
            )

        def before(activation: nn.Module, arguments: tuple[Tensor, ...]) -> None:
            self._captured[layer] = arguments[0].clone()  # it may be applied in place

        def after(module: nn.Module, arguments: object, output: Tensor) -> None:
            if output.shape != self._captured[layer].shape:
                raise InputError(
                    f"layer {layer!r}: its last ReLU gives {tuple(self._captured[layer].shape)} and the layer "
                    f"{tuple(output.shape)}, so that it is not its last step: choose another layer (feature loss "
                    "review: or option activated)"
                )

        self._hooks += [activations[-1].register_forward_pre_hook(before), module.register_forward_hook(after)]

    def forward(self, inputs: Any) -> tuple[Float[Tensor, "batch outputs"], dict[str, Tensor]]:
        """Logits, and features by module path."""
        self._captured.clear()
        logits = call_model(self.network, inputs)
        features, self._captured = self._captured, {}
        return logits, features


def call_model(network: nn.Module, inputs: Any) -> Float[Tensor, "batch outputs"]:
    """The logits of any module: a mapping of inputs is passed by keyword, an output object by its ``logits``."""
    by_name = isinstance(inputs, Mapping) and not isinstance(network, ImageModel)  # which passes them on itself
    output = network(**inputs) if by_name else network(inputs)
    logits: Tensor = output if isinstance(output, Tensor) else output.logits
    return logits


def feature_layers(network: nn.Module) -> tuple[str, ...]:
    """The layers that a network lists for feature losses in its attribute ``feature_layers``; empty without one."""
    inner = network.network if isinstance(network, ImageModel) else network
    return tuple(getattr(inner, "feature_layers", ()))


def pooled_layers(network: nn.Module) -> tuple[str, ...]:
    """The layer whose map a network pools before its head: its attribute ``pooled_layer``, else the last it lists."""
    inner = network.network if isinstance(network, ImageModel) else network
    stated = getattr(inner, "pooled_layer", None)
    return feature_layers(network)[-1:] if stated is None else (stated,)
