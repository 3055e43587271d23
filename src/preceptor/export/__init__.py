"""Students as files to deploy: written, run, and held against the original before anybody sees them."""

from preceptor.export.costs import Cost, latencies, multiply_adds, parameters
from preceptor.export.int8 import Mode, Standing, quantized, standing
from preceptor.export.make import FILES, Export, check_formats, check_places, export_student, put_in_place
from preceptor.export.module import ExportModule, ExportOutput
from preceptor.export.verify import Agreement, check, expected, some_of

__all__ = [
    "FILES",
    "Agreement",
    "Cost",
    "Export",
    "ExportModule",
    "ExportOutput",
    "Mode",
    "Standing",
    "check",
    "check_formats",
    "check_places",
    "expected",
    "export_student",
    "latencies",
    "multiply_adds",
    "parameters",
    "put_in_place",
    "quantized",
    "some_of",
    "standing",
]
