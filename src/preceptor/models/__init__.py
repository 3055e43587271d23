"""Architectures by name, and students on disk."""

from preceptor.models.build import build_model, known_models, seeded_model
from preceptor.models.convnet import ConvNet
from preceptor.models.family import model_family
from preceptor.models.resnet import CifarResNet
from preceptor.models.store import ModelCard, load_student, save_student

__all__ = [
    "CifarResNet",
    "ConvNet",
    "ModelCard",
    "build_model",
    "known_models",
    "load_student",
    "model_family",
    "save_student",
    "seeded_model",
]
