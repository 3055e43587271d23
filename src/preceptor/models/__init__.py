"""Architectures by name, and students on disk."""

from preceptor.models.alexnet import AlexNet
from preceptor.models.checkpoints import load_checkpoints, save_checkpoint
from preceptor.models.convnet import ConvNet
from preceptor.models.custom import allow_code
from preceptor.models.decision import CalibrationSet, Decision, SetDecision
from preceptor.models.family import build_model, known_models, model_family, seeded_model
from preceptor.models.resnet import CifarResNet, ImagenetResNet
from preceptor.models.store import ModelCard, load_student, save_card, save_student

__all__ = [
    "AlexNet",
    "CalibrationSet",
    "CifarResNet",
    "ConvNet",
    "Decision",
    "ImagenetResNet",
    "ModelCard",
    "SetDecision",
    "allow_code",
    "build_model",
    "known_models",
    "load_checkpoints",
    "load_student",
    "model_family",
    "save_card",
    "save_checkpoint",
    "save_student",
    "seeded_model",
]
