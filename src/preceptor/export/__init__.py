"""Students as files to deploy, each compared with the original before it is put in place."""

from preceptor.export.costs import Cost, SavedNetwork, cost_table, latencies
from preceptor.export.formats import FILES, Export, check_formats, check_places, export_student, put_in_place
from preceptor.export.int8 import AnswerQuality, Mode, QuantizationResult, answer_quality, measure_int8, quantize
from preceptor.export.module import ExportModule, ExportOutput
from preceptor.export.verify import Agreement, check, expected, random_images, some_of

__all__ = [
    "FILES",
    "Agreement",
    "AnswerQuality",
    "Cost",
    "Export",
    "ExportModule",
    "ExportOutput",
    "Mode",
    "QuantizationResult",
    "SavedNetwork",
    "answer_quality",
    "check",
    "check_formats",
    "check_places",
    "cost_table",
    "expected",
    "export_student",
    "latencies",
    "measure_int8",
    "put_in_place",
    "quantize",
    "random_images",
    "some_of",
]
