"""Temperatures: how softly the teacher speaks."""

from preceptor.temper.cwsm import CWSM, cwsm_weight
from preceptor.temper.dynamic import dynamic_temperature
from preceptor.temper.fixed import Fixed
from preceptor.temper.flsw import FLSW, flsw_weight

__all__ = ["CWSM", "FLSW", "Fixed", "cwsm_weight", "dynamic_temperature", "flsw_weight"]
