"""Models by name, and small ones of our own for images of 8x8 to 32x32 pixels."""

from .factory import find_model_factory, load_model, make_model
from .small_resnet import SmallResNet, resnet_small, resnet_tiny
from .torchvision_ops import prepare_torchvision

__all__ = [
    "SmallResNet",
    "find_model_factory",
    "load_model",
    "make_model",
    "prepare_torchvision",
    "resnet_small",
    "resnet_tiny",
]
