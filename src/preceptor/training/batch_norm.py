"""Batch normalization over the rows of all processes."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

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
    """``weight * (x - mean) / sqrt(variance + eps) + bias`` with mean and variance over the rows of all processes."""

    @staticmethod
    def forward(context: Any, inputs: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Any:
        others = [dimension for dimension in range(inputs.dim()) if dimension != 1]
        shape = [1, -1, *[1] * (inputs.dim() - 2)]
        values = inputs.double()  # so that the number of processes is hardly seen in the result
        own_count = values.numel() // values.shape[1]
        own_variance, own_mean = torch.var_mean(values, others, correction=0)
        own = torch.stack([own_mean, own_variance, torch.full_like(own_mean, own_count)])
        means, variances, counts = of_every_process(own).unbind(1)
        count = counts.sum(0)
        mean = (counts * means).sum(0) / count
        variance = (counts * (variances + (means - mean).square())).sum(0) / count
        scale = (variance + eps).rsqrt()
        normalized = (values - mean.view(shape)) * scale.view(shape)
        outputs = normalized if weight is None else normalized * weight.double().view(shape)
        outputs = outputs if bias is None else outputs + bias.double().view(shape)
        context.save_for_backward(normalized.to(inputs.dtype), weight, scale, count)
        context.others, context.shape, context.has_bias = others, shape, bias is not None
        results = outputs.to(inputs.dtype), mean, variance, count
        context.mark_non_differentiable(*results[1:])
        return results

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Any:
        kept, weight, scale, count = context.saved_tensors
        normalized, gradient = kept.double(), gradients[0].double()
        of_bias = gradient.sum(context.others)
        of_weight = (gradient * normalized).sum(context.others)
        sums = torch.stack([of_bias, of_weight])
        with waiting():
            dist.all_reduce(sums)
        mean, along = (sums / count).view(2, *context.shape)
        factor = scale if weight is None else scale * weight.double()
        of_inputs = factor.view(context.shape) * (gradient - mean - normalized * along)
        return (
            of_inputs.to(kept.dtype),
            None if weight is None else of_weight.to(weight.dtype),
            of_bias.to(gradients[0].dtype if weight is None else weight.dtype) if context.has_bias else None,
            None,
        )
