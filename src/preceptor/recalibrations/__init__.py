"""Recalibrations: the teacher's logits repaired before anything else sees them, without looking at the label."""

from preceptor.recalibrations.confusion import Confusion as Confusion
from preceptor.recalibrations.confusion import confusion_posterior as confusion_posterior
from preceptor.recalibrations.confusion import mixed_by_confusion as mixed_by_confusion
from preceptor.recalibrations.cross_validated import CrossValidated as CrossValidated
from preceptor.recalibrations.prior import Prior as Prior
from preceptor.recalibrations.prior import mean_prediction as mean_prediction
from preceptor.recalibrations.prior import without_prior as without_prior
from preceptor.recalibrations.scaling import Dirichlet as Dirichlet
from preceptor.recalibrations.scaling import TemperatureScaling as TemperatureScaling
from preceptor.recalibrations.scaling import VectorScaling as VectorScaling
