"""Batch normalization over the rows of all processes."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional

from preceptor.training.distributed import of_every_process, waiting, world_size


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
        output: Tensor
        output, mean, variance, count = _NormalizedOverAll.apply(input, self.weight, self.bias, self.eps)  # type: ignore[no-untyped-call]
        with torch.no_grad():
            statistics: Any = self  # its buffers are there, as it keeps running statistics
            statistics.num_batches_tracked += 1
            share = 1 / float(statistics.num_batches_tracked) if self.momentum is None else self.momentum
            statistics.running_mean.lerp_(mean.to(statistics.running_mean), share)
            statistics.running_var.lerp_((variance * count / (count - 1)).to(statistics.running_var), share)
        return output


class _Synchronized1d(_Synchronized, nn.BatchNorm1d):
    """Of [batch, channels] or [batch, channels, length]."""


class _Synchronized2d(_Synchronized, nn.BatchNorm2d):
    """Of [batch, channels, height, width]."""


class _Synchronized3d(_Synchronized, nn.BatchNorm3d):
    """Of [batch, channels, depth, height, width]."""


_CLASSES: dict[type[nn.Module], type[nn.Module]] = {
    nn.BatchNorm1d: _Synchronized1d,
    nn.BatchNorm2d: _Synchronized2d,
    nn.BatchNorm3d: _Synchronized3d,
}


class _NormalizedOverAll(torch.autograd.Function):
    """``weight * (x - mean) / sqrt(variance + eps) + bias`` with mean and variance over the rows of all processes.

    Torch's own kernels do the passes over the inputs, for the rows of this process; only numbers by channel go between
    processes, once in each direction.
    """

    @staticmethod
    def forward(context: Any, inputs: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Any:
        one = torch.ones(inputs.shape[1], dtype=torch.promote_types(inputs.dtype, torch.float32))
        zero = torch.zeros_like(one)  # with both, statistics of bf16 inputs are fp32
        _, own_mean, own_scale = torch.native_batch_norm(inputs, one, zero, None, None, True, 0.0, eps)
        own_count = torch.full_like(own_mean, inputs.numel() // inputs.shape[1])
        own = torch.stack([own_mean, own_scale, own_count]).double()
        means, scales, counts = of_every_process(own).unbind(1)
        count = counts.sum(0)
        mean = (counts * means).sum(0) / count
        variance = (counts * (scales**-2 - eps + (means - mean).square())).sum(0) / count
        statistics = mean.to(one.dtype), variance.to(one.dtype)
        factor, shift = one if weight is None else weight, zero if bias is None else bias
        outputs = functional.batch_norm(inputs, *statistics, factor, shift, training=False, eps=eps)
        context.save_for_backward(inputs, factor, *statistics, count)
        context.eps, context.affine = eps, (weight is not None, bias is not None)
        context.mark_non_differentiable(mean, variance, count)
        return outputs, mean, variance, count

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Any:
        kept, weight, mean, variance, count = context.saved_tensors
        # In bf16 the difference below would be lost.
        inputs, gradient = kept.to(mean.dtype), gradients[0].to(mean.dtype)
        # Mean and variance are of all rows, so to this kernel they are constants; what follows adds their share.
        of_inputs, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
            gradient, inputs, weight, mean, variance, None, None, False, context.eps, [True, True, True]
        )
        sums = torch.stack([of_bias, of_weight]).double()
        with waiting():
            dist.all_reduce(sums)
        average, along = sums / count
        scale = (variance.double() + context.eps).rsqrt()
        factor = scale * weight.double()
        slope = factor * along * scale
        offset = factor * average - slope * mean.double()
        affine = slope.to(mean.dtype), offset.to(mean.dtype)
        zero, one = torch.zeros_like(mean), torch.ones_like(mean)
        of_inputs -= functional.batch_norm(inputs, zero, one, *affine, training=False, eps=0.0)
        has_weight, has_bias = context.affine
        return of_inputs.to(kept.dtype), of_weight if has_weight else None, of_bias if has_bias else None, None
