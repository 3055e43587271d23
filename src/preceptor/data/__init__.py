"""Data sets, their splits, their corruption, and the views they are shown in."""

from preceptor.data.corruption import confusable_pairs, swap_pairs, symmetric
from preceptor.data.dataset import Dataset, ImageSet, Normalisation, check_dataset
from preceptor.data.load import load_dataset
from preceptor.data.resized_crops import ResizedCrops
from preceptor.data.split import hold_out, subset
from preceptor.data.views import ViewRule, Views, epoch_order

__all__ = [
    "Dataset",
    "ImageSet",
    "Normalisation",
    "ResizedCrops",
    "ViewRule",
    "Views",
    "check_dataset",
    "confusable_pairs",
    "epoch_order",
    "hold_out",
    "load_dataset",
    "subset",
    "swap_pairs",
    "symmetric",
]
