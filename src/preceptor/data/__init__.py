"""Data sets, their splits, label noise, corrupted images and augmentation."""

from preceptor.data.augmentation import Augmentation, CropFlip, NoAugmentation, ResizedCrops, epoch_order
from preceptor.data.composition import Composition, TwoViews, named_augmentation
from preceptor.data.corruption import confusable_pairs, swap_pairs, uniform_noise
from preceptor.data.dataset import Dataset, ImageSet, Normalization, check_dataset
from preceptor.data.image_corruption import CORRUPTIONS, corrupt_images
from preceptor.data.load import load_dataset
from preceptor.data.split import folds, hold_out, subset
from preceptor.data.transforms import NumberedTransform

__all__ = [
    "CORRUPTIONS",
    "Augmentation",
    "Composition",
    "CropFlip",
    "Dataset",
    "ImageSet",
    "NoAugmentation",
    "Normalization",
    "NumberedTransform",
    "ResizedCrops",
    "TwoViews",
    "check_dataset",
    "confusable_pairs",
    "corrupt_images",
    "epoch_order",
    "folds",
    "hold_out",
    "load_dataset",
    "named_augmentation",
    "subset",
    "swap_pairs",
    "uniform_noise",
]
