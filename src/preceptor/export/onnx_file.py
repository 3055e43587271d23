"""ONNX files of exported students: pixels in; label, probabilities, score and decision out."""

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.export import ExportedProgram

from preceptor import __version__
from preceptor.errors import InputError, MachineError, first_line
from preceptor.export.module import ExportOutput
from preceptor.models import ModelCard
from preceptor.teachers.onnx_runtime import cpu_session, package

OPSET = 18
"""The one that torch's exporter writes without a converter. ONNX Runtime has it since 1.14."""

INPUT = "images"
BATCH = "batch"

NETWORK = "network/"
"""Prefix of the names of the nodes inside the network; the others are what :class:`ExportModule` adds around it."""

MOST_BYTES = 2**31 - 2**24
"""Of weights: an ONNX file in one piece ends at 2 GiB."""


@contextmanager
def silence() -> Iterator[None]:
    """Silences exporters and quantizers, whose warnings a user can do nothing about; errors are raised as ever."""
    disabled, handlers = logging.root.manager.disable, logging.root.handlers[:]
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
        logging.root.handlers[:] = handlers  # logging.warning() adds one where there is none


def write_onnx(program: ExportedProgram, card: ModelCard, path: Path) -> None:
    """Write the program with its weights, the card in ``metadata_props``; ONNX's own checker has passed it.

    Raises:
        MachineError: a package is missing, or the exporter fails.
        InputError: the weights are too large for one file.
    """
    size = sum(weight.nbytes for weight in program.state_dict.values())
    if size > MOST_BYTES:
        raise InputError(f"{size / 2**30:.1f} GiB of weights: an ONNX file in one piece holds less than 2 GiB")
    package("onnxscript")
    try:
        with silence():
            exported = torch.onnx.export(
                program,
                dynamo=True,
                opset_version=OPSET,
                input_names=[INPUT],
                output_names=list(ExportOutput._fields),
                external_data=False,
                verbose=False,
            )
    except MemoryError:
        raise
    except Exception as error:  # the exporter's errors have no base of their own
        raise MachineError(
            f"architecture {card.architecture!r}: torch {torch.__version__} cannot write it as ONNX "
            f"({first_line(error)}): export it as pt2, or choose another architecture"
        ) from error
    assert exported is not None
    model = exported.model_proto
    _clean(model.graph)
    describe(model, card)
    package("onnx").checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString())


def _clean(graph: Any) -> None:
    """Name the nodes and the batch dimension, and remove paths of this machine's source code."""
    for node in graph.node:
        scopes = next((entry.value for entry in node.metadata_props if entry.key == "namespace"), "")
        inside = any(part.startswith("network:") for part in scopes.split("/"))
        node.name = f"{NETWORK if inside else ''}{node.name}"
        node.doc_string = ""
        del node.metadata_props[:]
    anonymous = graph.input[0].type.tensor_type.shape.dim[0].dim_param
    del graph.value_info[:]  # shapes in between, which trip quantizers
    del graph.metadata_props[:]
    for value in (*graph.input, *graph.output):
        del value.metadata_props[:]
        for dimension in value.type.tensor_type.shape.dim:
            if dimension.dim_param == anonymous:
                dimension.dim_param = BATCH


def describe(model: Any, card: ModelCard) -> None:
    """Replace the model's metadata with the card and the class names."""
    values = {
        "class_names": json.dumps(card.class_names),
        "reading": json.dumps({"crop": card.crop, "interpolation": card.interpolation, "exif": card.exif}),
        "card": card.model_dump_json(),
        "producer": f"preceptor {__version__}",
    }
    del model.metadata_props[:]
    for key, value in values.items():
        model.metadata_props.add(key=key, value=value)


class OnnxFile:
    """An ONNX file in ONNX Runtime, on one thread of the CPU. Called with images, it returns its outputs.

    Raises:
        MachineError: onnxruntime is missing, or cannot open the file.
    """

    def __init__(self, path: Path) -> None:
        version = package("onnxruntime").__version__
        try:
            self._session = cpu_session(path, threads=1)
        except Exception as error:  # ONNX Runtime's errors have no base of their own
            raise MachineError(
                f"{path.name}: onnxruntime {version} cannot open it ({first_line(error)}): install a newer one"
            ) from error

    def __call__(self, images: UInt8[Tensor, "batch channels height width"]) -> ExportOutput:
        outputs = self._session.run(list(ExportOutput._fields), {INPUT: images.contiguous().numpy()})
        return ExportOutput(*(torch.from_numpy(output) for output in outputs))
