"""Students as files to deploy: written, run, and held against the original before anybody sees them."""

from preceptor.export.costs import Cost, latencies, multiply_adds, parameters
from preceptor.export.deployed import Deployed, Reply
from preceptor.export.int8 import Mode, Standing, quantised, standing
from preceptor.export.make import FILES, Export, check_formats, check_places, export_student, put_in_place
from preceptor.export.verify import Agreement, check, expected, some_of

__all__ = [
    "FILES",
    "Agreement",
    "Cost",
    "Deployed",
    "Export",
    "Mode",
    "Reply",
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
    "quantised",
    "some_of",
    "standing",
]
