"""A deployed student as a program of ``torch.export`` (.pt2)."""

from pathlib import Path

import torch
from torch.export import Dim, ExportedProgram

from preceptor.errors import InputError, first_line
from preceptor.export.module import ExportModule
from preceptor.export.packages import silence
from preceptor.models import ModelCard

CARD_ENTRY = "student.json"
"""The name under which the card lies in the file."""

_TRACED_WITH = 2
"""Images: with a batch of one, torch takes the one for a constant."""


def traced(deployed: ExportModule, card: ModelCard) -> ExportedProgram:
    """The program, for batches of any size.

    Raises:
        InputError: the architecture cannot be traced.
    """
    images = torch.zeros(_TRACED_WITH, card.channels, *card.image_size, dtype=torch.uint8)
    try:
        with silence(), torch.no_grad():
            program = torch.export.export(deployed, (images,), dynamic_shapes={"images": {0: Dim("batch")}})
    except MemoryError:
        raise
    except Exception as error:  # whatever the tracer meets in an architecture
        raise InputError(
            f"architecture {card.architecture!r}: torch.export cannot trace it ({first_line(error)}): export its "
            "state dict, or choose another architecture"
        ) from error
    for node in program.graph.nodes:  # where on this machine its code stands is nobody's business
        node.meta.pop("stack_trace", None)
    return program


def save_program(program: ExportedProgram, card: ModelCard, path: Path) -> None:
    """Write it, the card inside."""
    with silence():
        torch.export.save(program, path, extra_files={CARD_ENTRY: card.model_dump_json()})


def load_program(path: Path) -> torch.nn.Module:
    """The program in a file, to be called with images. torch opens it; take it from nobody you do not trust."""
    with silence():
        return torch.export.load(path).module()
