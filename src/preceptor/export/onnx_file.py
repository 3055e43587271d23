"""A deployed student as an ONNX file: pixels in; label, probabilities, score and decision out."""

import json
from pathlib import Path
from typing import Any

import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.export import ExportedProgram

from preceptor import __version__
from preceptor.errors import InputError, MachineError, first_line
from preceptor.export.module import ExportOutput
from preceptor.export.packages import silence
from preceptor.models import ModelCard
from preceptor.teachers.onnx_runtime import cpu_session, package

OPSET = 18
"""The one torch's exporter writes in; for any other it goes through a converter. ONNX Runtime has it since 1.14."""

INPUT = "images"
BATCH = "batch"

NETWORK = "network/"
"""How the names of the nodes begin that come from the network itself, not from what was put around it."""

MOST_BYTES = 2**31 - 2**24
"""Of weights: an ONNX file in one piece ends at 2 GiB."""

_SCOPE = "namespace"  # torch's exporter says in a node's metadata which module it comes from


def onnx_model(program: ExportedProgram, card: ModelCard) -> Any:
    """The program as an ONNX ``ModelProto``, weights inside, the card in its ``metadata_props``.

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
            made = torch.onnx.export(
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
    assert made is not None
    model = made.model_proto
    _name_nodes_and_batch(model)
    describe(model, card)
    return model


def describe(model: Any, card: ModelCard) -> None:
    """State in the model's metadata what it takes to use it; what was there is replaced."""
    values = {
        "class_names": json.dumps(card.class_names),
        "card": card.model_dump_json(),
        "producer": f"preceptor {__version__}",
    }
    del model.metadata_props[:]
    for key, value in values.items():
        model.metadata_props.add(key=key, value=value)


def open_session(path: Path, threads: int = 1) -> Any:
    """An ONNX file in ONNX Runtime, on the CPU.

    Raises:
        MachineError: onnxruntime is missing, or cannot open it.
    """
    version = package("onnxruntime").__version__
    try:
        return cpu_session(path, threads)
    except Exception as error:  # ONNX Runtime's errors have no base of their own
        raise MachineError(
            f"{path.name}: onnxruntime {version} cannot open it ({first_line(error)}): install a newer one"
        ) from error


def run_session(session: Any, images: UInt8[Tensor, "batch channels height width"]) -> ExportOutput:
    """What an ONNX file says of images."""
    found = session.run(list(ExportOutput._fields), {INPUT: images.contiguous().numpy()})
    return ExportOutput(*(torch.from_numpy(output) for output in found))


def _name_nodes_and_batch(model: Any) -> None:
    """Name what people look at, and leave out where on this machine each node's code stands."""
    graph = model.graph
    for node in graph.node:
        scopes = next((entry.value for entry in node.metadata_props if entry.key == _SCOPE), "")
        inside = any(part.startswith("network:") for part in scopes.split("/"))
        node.name = f"{NETWORK if inside else ''}{node.name}"
        node.doc_string = ""
        del node.metadata_props[:]
    anonymous = graph.input[0].type.tensor_type.shape.dim[0].dim_param
    del graph.value_info[:]  # what lies between; quantizers trip over what it says of weights
    del graph.metadata_props[:]
    for value in (*graph.input, *graph.output):
        del value.metadata_props[:]
        for side in value.type.tensor_type.shape.dim:
            if side.dim_param == anonymous:
                side.dim_param = BATCH
