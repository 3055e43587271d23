"""Batch normalization over the rows of all processes."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from preceptor.training.distributed import waiting, world_size


@contextmanager
def synchronized_batch_norms(networks: Sequence[nn.Module]) -> Iterator[None]:
    """Within it the batch norms of networks take their statistics from the rows of all processes.

    So they are those of the whole batch, as in one process. Torch's ``SyncBatchNorm`` is for CUDA alone; on a CPU this
    module's own computes the same. Layers keep their place, their parameters and their buffers.
    """
    modules = [module for network in networks for module in network.modules()]
    layers = [module for module in modules if type(module) in _CLASSES and module.track_running_stats]
    classes = [type(layer) for layer in layers]
    if world_size() > 1:
        for layer in layers:
            on_gpu = next(layer.buffers()).is_cuda
            setattr(layer, "process_group", None)  # noqa: B010 (of SyncBatchNorm: all processes)
            layer.__class__ = nn.SyncBatchNorm if on_gpu else _CLASSES[type(layer)]
    try:
        yield
    finally:
        for layer, before in zip(layers, classes, strict=True):
            layer.__class__ = before


class _Synchronized(nn.modules.batchnorm._BatchNorm):
    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (torch's name)
        if not self.training or world_size() == 1:
            return super().forward(input)
        self._check_input_dim(input)  # type: ignore[no-untyped-call]
        values = input.to(torch.promote_types(input.dtype, torch.float32))
        own_variance, own_mean = torch.var_mean(values, [0, *range(2, input.dim())], correction=0)
        own_mean, own_variance = own_mean.double(), own_variance.double()
        own_count = torch.full_like(own_mean, input.numel() // input.shape[1])
        parts = torch.stack([own_count, own_count * own_mean, own_count * (own_variance + own_mean.square())])
        count, total, squares = _Summed.apply(parts)  # type: ignore[no-untyped-call]
        mean = total / count
        variance = squares / count - mean.square()
        with torch.no_grad():
            statistics: Any = self  # its buffers are there, as it keeps running statistics
            statistics.num_batches_tracked += 1
            share = 1 / float(statistics.num_batches_tracked) if self.momentum is None else self.momentum
            statistics.running_mean.lerp_(mean.to(statistics.running_mean), share)
            statistics.running_var.lerp_((variance * count / (count - 1)).to(statistics.running_var), share)
        factor = (variance + self.eps).rsqrt() * (1 if self.weight is None else self.weight)
        shift = (0 if self.bias is None else self.bias) - mean * factor
        shape = (1, -1, *(1,) * (input.dim() - 2))
        scaled = torch.addcmul(shift.to(values).reshape(shape), values, factor.to(values).reshape(shape))
        return scaled.to(input.dtype)


_CLASSES: dict[type[nn.Module], type[nn.Module]] = {
    kind: type(kind.__name__, (_Synchronized, kind), {}) for kind in (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
}


class _Summed(torch.autograd.Function):
    """The sum over all processes; so is its gradient's."""

    @staticmethod
    def forward(context: Any, own: Tensor) -> Tensor:
        total = own.clone()
        with waiting():
            dist.all_reduce(total)
        return total

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Tensor:
        return _Summed.forward(context, gradients[0])
