"""The cost of every registered loss, forward and backward, eager and compiled, against plain KL in the same run.

A loss gets what ``DistillationLoss`` hands it: the student's logits and a ready target. All take turns, so that other
load affects them alike; the ratio counts. Before that each runs in a process of its own, at first with few rows: one
that would take too long or too much memory is left out, with the reason.
"""

import argparse
import signal
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from experiments.bench.common import GIB, RESULTS, in_its_own_process, table, write_json
from experiments.speed.machine import Machine, peak_bytes, seconds_for, this_machine
from experiments.speed.result import Spread
from preceptor.conformance.batch import Batch
from preceptor.conformance.check import TEMPERATURE, ComponentCase
from preceptor.context import ModelOutputs, SelectionData, TeacherSnapshot
from preceptor.registry import components, find_component
from preceptor.training.device import choose_device

SHAPES = ((128, 100), (1024, 1000))
ROUNDS = 9
YARDSTICK = "plain KL"
A_TURN = 0.02
"""Seconds: a loss that is quicker is computed several times a turn."""
MOST_REPEATS = 50
MOST_SECONDS, MOST_GIB = 10.0, 4.0
MOST_SECONDS_TO_COMPILE = 120
PARTS = (8, 4, 2, 1)
"""First an eighth of the rows; twice as many may cost four times as much."""
RESULT = RESULTS / "losses.json"

Step = Callable[[], object]


class TooLongError(BaseException):
    """Compiling took too long. Not an Exception, which the compiler would wrap in its own."""


@dataclass(frozen=True)
class Loss:
    """A loss with all its arguments but the student's logits.

    Attributes:
        of: from the student's logits to per-sample losses.
        student: these logits.
    """

    of: Callable[[Tensor], Tensor]
    student: Tensor

    def step(self) -> None:
        """Forward and backward."""
        leaf = self.student.detach().requires_grad_()
        self.of(leaf).mean().backward()


def plain_kl(student_logits: Tensor, target_log_probs: Tensor) -> Tensor:
    """torch's KL divergence, as most code has it."""
    log_probs = functional.log_softmax(student_logits / TEMPERATURE, dim=1)
    return functional.kl_div(log_probs, target_log_probs, log_target=True, reduction="batchmean") * TEMPERATURE**2


def random_batch(rows: int, classes: int, device: torch.device) -> Batch:
    generator = torch.Generator().manual_seed(0)
    student, teacher = (3 * torch.randn(rows, classes, generator=generator) for _ in range(2))
    label = torch.randint(classes, (rows,), generator=generator)
    return Batch(student, teacher, label, torch.arange(rows)).to(device.type)


def loss_called(name: str, batch: Batch, compiled: bool = False) -> Loss:
    """The yardstick, or the registered loss of this name with its defaults."""

    def maybe_compiled(function: Any) -> Any:
        return torch.compile(function, fullgraph=True, dynamic=False) if compiled else function

    if name == YARDSTICK:
        target = (batch.teacher / TEMPERATURE).log_softmax(dim=1)
        return Loss(partial(_swap, maybe_compiled(plain_kl), target), batch.student)
    case = ComponentCase(find_component("loss", name))
    component, batch = case.build_unfitted(), case.adapted(batch)
    if case.needs_fit:
        component.fit(_selection_data(batch))
    if isinstance(component, nn.Module):
        component.to(batch.student.device)
    student, *others = case.arguments(component, batch)
    function = maybe_compiled(component if isinstance(component, nn.Module) else component.__call__)
    return Loss(lambda logits: function(logits, *others), student)


def _selection_data(batch: Batch) -> SelectionData:
    """What a component is fitted to where these rows are trained on and held out: its speed does not follow from it."""
    label, outputs = batch.label.cpu(), ModelOutputs(batch.teacher.cpu())
    teacher = TeacherSnapshot(1.0, outputs, outputs)
    return SelectionData(torch.arange(len(label)), label, label, (teacher,), has_bias=False, size=len(label))


def _swap(function: Callable[[Tensor, Tensor], Tensor], second: Tensor, first: Tensor) -> Tensor:
    return function(first, second)


def try_out(name: str, shape: tuple[int, int], device: torch.device) -> dict[str, Any]:
    """Seconds and peak of a step on more and more rows, up to all; or why it is left out. In a process of its own."""
    measured: dict[str, Any] = {}
    for part in PARTS:
        rows = shape[0] // part
        loss = loss_called(name, random_batch(rows, shape[1], device))
        before = peak_bytes(device)
        seconds, gib = seconds_for(loss.step, device), (peak_bytes(device) - before) / GIB
        measured = {"first_seconds": seconds, "more_at_the_peak_gib": gib}
        growth = 1 if part == 1 else 4
        if seconds * growth > MOST_SECONDS or gib * growth > MOST_GIB:
            return {"left_out": f"{rows} of {shape[0]} rows took {seconds:.1f} s and {gib:.1f} GiB"}
    return measured


@contextmanager
def limited(seconds: int) -> Iterator[None]:
    def stop(number: int, frame: FrameType | None) -> None:
        raise TooLongError

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def compiled_step(name: str, batch: Batch, device: torch.device) -> tuple[Step | None, dict[str, Any]]:
    """The compiled step and how long it took to compile, or None and why it could not be."""
    try:
        with limited(MOST_SECONDS_TO_COMPILE):
            step = loss_called(name, batch, compiled=True).step
            return step, {"seconds_to_compile": seconds_for(step, device)}
    except TooLongError:
        return None, {"left_out": f"not compiled in {MOST_SECONDS_TO_COMPILE} s"}
    except Exception as error:  # a failure is reported, and the others go on
        return None, {"left_out": f"not compiled: {type(error).__name__}: {str(error).strip().splitlines()[0]}"}


def in_turns(steps: dict[str, Step], rounds: int, device: torch.device) -> dict[str, list[float]]:
    """Seconds of a step in every round, after one that warms up and sets the repetitions."""
    repeats = {name: max(1, min(MOST_REPEATS, int(A_TURN / seconds_for(step, device)))) for name, step in steps.items()}
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    names = list(steps)
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            often, step = repeats[name], steps[name]
            taken = seconds_for(lambda often=often, step=step: [step() for _ in range(often)], device)  # type: ignore[misc]
            seconds[name].append(taken / often)
    return seconds


def measure(shape: tuple[int, int], rounds: int, device: torch.device) -> dict[str, Any]:
    torch._dynamo.reset()
    names = [YARDSTICK, *(info.name for info in components("loss"))]
    batch = random_batch(*shape, device)
    cases: dict[str, dict[str, Any]] = {
        name: {"eager": in_its_own_process(try_out, name, shape, device)} for name in names
    }
    steps: dict[str, Step] = {}
    for name in names:
        if "left_out" in cases[name]["eager"]:
            cases[name]["compiled"] = {"left_out": "as it takes too much uncompiled"}
            continue
        steps[f"{name} eager"] = loss_called(name, batch).step
        step, cases[name]["compiled"] = compiled_step(name, batch, device)
        steps |= {} if step is None else {f"{name} compiled": step}
    seconds = in_turns(steps, rounds, device)
    for name in names:
        for way in ("eager", "compiled"):
            cases[name][way] |= summary(seconds, f"{name} {way}", f"{YARDSTICK} eager")
    return {"shape": list(shape), "cases": cases}


def summary(seconds: dict[str, list[float]], of: str, yardstick: str) -> dict[str, Any]:
    if of not in seconds:
        return {}
    ratios = [own / other for own, other in zip(seconds[of], seconds[yardstick], strict=True)]
    return {
        "median_milliseconds": 1000 * statistics.median(seconds[of]),
        "times_plain_kl": Spread.of(ratios).model_dump(),
    }


def markdown(content: dict[str, Any]) -> str:
    """The result file as a table."""
    shapes = content["shapes"]
    headings = ["loss", *(f"[{rows}, {classes}] {way}" for rows, classes in _shapes(shapes) for way in _WAYS)]
    rows = [[name, *(_cell(each["cases"][name][way]) for each in shapes for way in _WAYS)] for name in _names(shapes)]
    reasons = [
        f"- `{name}` on [{rows}, {classes}], {way}: left out, {case[way]['left_out']}"
        for each, (rows, classes) in zip(shapes, _shapes(shapes), strict=True)
        for name, case in each["cases"].items()
        for way in _WAYS
        if "left_out" in case[way]
    ]
    machine = Machine.model_validate(content["machine"])
    made = (
        f"Milliseconds, and in brackets how many times those of plain KL, uncompiled, in the same round: medians of "
        f"{content['rounds']} rounds. Made by `python -m experiments.bench.losses` ({machine})."
    )
    return "\n".join([table(headings, rows), "", *([*reasons, ""] if reasons else []), made])


_WAYS = ("eager", "compiled")


def _shapes(shapes: list[dict[str, Any]]) -> list[list[int]]:
    return [each["shape"] for each in shapes]


def _names(shapes: list[dict[str, Any]]) -> list[str]:
    return list(shapes[0]["cases"])


def _cell(way: dict[str, Any]) -> str:
    if "median_milliseconds" not in way:
        return "–"
    return f"{way['median_milliseconds']:.2f} ({way['times_plain_kl']['median']:.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--out", type=Path, default=RESULT)
    arguments = parser.parse_args()
    if arguments.rounds < 1:
        parser.error(f"--rounds {arguments.rounds}: at least 1")
    device = choose_device(arguments.device)
    result = {
        "kind": "losses",
        "rounds": arguments.rounds,
        "limits": {
            "seconds": MOST_SECONDS,
            "gib": MOST_GIB,
            "seconds_to_compile": MOST_SECONDS_TO_COMPILE,
        },
        "machine": this_machine(device).model_dump(mode="json"),
        "shapes": [measure(shape, arguments.rounds, device) for shape in SHAPES],
    }
    write_json(result, arguments.out)
    print(markdown(result))


if __name__ == "__main__":
    main()
