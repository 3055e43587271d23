"""Corrections: changes to the teacher's output where its prediction is wrong."""

from preceptor.corrections.arbitrate import Arbitrate as Arbitrate
from preceptor.corrections.arbitrate import arbitrate as arbitrate
from preceptor.corrections.arbitrate import class_label_trust as class_label_trust
from preceptor.corrections.arbitrate import label_reliability as label_reliability
from preceptor.corrections.label_revision import LabelRevision as LabelRevision
from preceptor.corrections.label_revision import label_revision as label_revision
from preceptor.corrections.label_revision import revision_beta as revision_beta
from preceptor.corrections.label_smoothing import LabelSmoothing as LabelSmoothing
from preceptor.corrections.label_smoothing import label_probability as label_probability
from preceptor.corrections.label_smoothing import smoothed_one_hot as smoothed_one_hot
from preceptor.corrections.probability_shift import ProbabilityShift as ProbabilityShift
from preceptor.corrections.probability_shift import probability_shift as probability_shift
