"""Architectures by name, and students on disk."""

from preceptor.models.alexnet import AlexNet
from preceptor.models.checkpoints import load_checkpoints, save_checkpoint
from preceptor.models.convnet import ConvNet
from preceptor.models.custom import allow_code
from preceptor.models.decision import CalibrationSet, Decision, SetDecision
from preceptor.models.family import build_model, known_models, model_family, seeded_model
from preceptor.models.mobilenet import MobileNetV2Half
from preceptor.models.resnet import CifarResNet, ImagenetResNet
from preceptor.models.resnet_a import CifarResNetA
from preceptor.models.shufflenet_v1 import ShuffleNetV1
from preceptor.models.shufflenet_v2 import ShuffleNetV2
from preceptor.models.simkd import SimKDStudent
from preceptor.models.store import ModelCard, load_student, save_card, save_student
from preceptor.models.vgg import Vgg
from preceptor.models.wide_resnet import WideResNet

__all__ = [
    "AlexNet",
    "CalibrationSet",
    "CifarResNet",
    "CifarResNetA",
    "ConvNet",
    "Decision",
    "ImagenetResNet",
    "MobileNetV2Half",
    "ModelCard",
    "SetDecision",
    "ShuffleNetV1",
    "ShuffleNetV2",
    "SimKDStudent",
    "Vgg",
    "WideResNet",
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
