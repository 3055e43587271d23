"""Temperatures of the softmax: one for all samples, or one per sample."""

from preceptor.temperatures.annealed import Annealed
from preceptor.temperatures.ctkd import CTKD
from preceptor.temperatures.cwsm import CWSM, cwsm_weight
from preceptor.temperatures.dynamic import dynamic_temperature
from preceptor.temperatures.fixed import Fixed
from preceptor.temperatures.flsw import FLSW, flsw_weight
from preceptor.temperatures.normkd import NormKD
from preceptor.temperatures.standardized import Standardized

__all__ = [
    "CTKD",
    "CWSM",
    "FLSW",
    "Annealed",
    "Fixed",
    "NormKD",
    "Standardized",
    "cwsm_weight",
    "dynamic_temperature",
    "flsw_weight",
]
