"""Configurations, recipes, folders, and what the machine lacks."""

import os
from pathlib import Path

from preceptor.cli.main import LESS_MEMORY
from tests.bad_input.workbench import (
    SMALL,
    Row,
    Workbench,
    another_run,
    bomb,
    no_memory_for_a_step,
    no_memory_left,
    without_privileges,
)


def recipe(bench: Workbench, text: str) -> list[object]:
    return bench.distill("--recipe", bench.file("my.yaml", text.encode()))


def full(bench: Workbench) -> list[object]:
    bench.out.mkdir()
    (bench.out / "thesis.tex").write_text("dear")
    return bench.train()


def taken(bench: Workbench) -> list[object]:
    bench.out.write_text("dear")
    return bench.train()


def not_stopped(bench: Workbench) -> list[object]:
    return ["resume", bench.sound_teacher]


def resettled(bench: Workbench) -> list[object]:
    run = bench.stopped()
    config = (run / "run.yaml").read_text()
    (run / "run.yaml").write_text(config.replace("  seed: 1\n", "  seed: 2\n"))
    return ["resume", run]


def linked(bench: Workbench) -> list[object]:
    run = bench.stopped()
    (run / "checkpoint").symlink_to(bench.folder)
    return ["resume", run]


def lock_elsewhere(bench: Workbench) -> Path:
    (bench.folder / "locked").mkdir()
    (bench.folder / "locked" / ".lock").symlink_to(bench.file("thesis.tex", b"dear"))
    return bench.folder / "locked"


def a_pipe(bench: Workbench) -> Path:
    os.mkfifo(bench.folder / "pipe.yaml")
    return bench.folder / "pipe.yaml"


TERMS = "terms: {kl: {loss: kl}}\n"

ROWS = [
    Row(
        "an unknown key",
        lambda b: b.config("sead: 1\n"),
        "unknown key in run.yaml 'sead': did you mean seed? preceptor methods --settings lists all settings",
    ),
    Row(
        "a key without its group",
        lambda b: b.config("epochs: 3\n"),
        (
            "unknown key in run.yaml 'epochs': did you mean training.epochs (--epochs)? preceptor methods --settings "
            "lists all settings"
        ),
    ),
    Row(
        "an option that is not known",
        lambda b: b.train("--epoch", "3"),
        "unknown option --epoch: did you mean --epochs? preceptor train --help lists all",
    ),
    Row("an option twice", lambda b: b.train("--seed", "1", "--seed", "2"), "--seed is set twice: give it once"),
    Row(
        "an option and its key",
        lambda b: b.train("--seed", "1", "seed=2"),
        "seed=2: seed is set twice: give it once",
    ),
    Row(
        "a key given twice",
        lambda b: b.config("seed: 1\nseed: 2\n"),
        "run.yaml: not valid YAML: duplicate key 'seed' in …",
    ),
    Row(
        "a value of another type",
        lambda b: b.config("seed: one\n"),
        "run.yaml: seed is 'one'; expected a whole number",
    ),
    Row(
        "a number where a path belongs",
        lambda b: b.config("teacher: 5\n"),
        "run.yaml: teacher is 5; expected a path",
    ),
    Row(
        "settings whose names are no words",
        lambda b: b.config("null: 1\n"),
        "run.yaml: the key None is not a name: write a name, in quotes if need be",
    ),
    Row(
        "a value out of range",
        lambda b: b.config("validation: 1.5\n"),
        "run.yaml: validation is 1.5; expected a number less than 1",
    ),
    Row(
        "a number where a mapping belongs",
        lambda b: b.config("training: 3\n"),
        "training is 3; expected short, standard, finetune, or the training settings themselves",
    ),
    Row(
        "a list where a mapping belongs",
        lambda b: b.config("- seed\n"),
        "run.yaml: expected a mapping of names to values, not a list",
    ),
    Row("no YAML", lambda b: b.config("seed: [1\n"), "run.yaml: not valid YAML: …"),
    Row("a date that is none", lambda b: b.config("seed: 2026-99-99\n"), "run.yaml: not valid YAML: …"),
    Row("not UTF-8", lambda b: b.config(b"data: \xff\xfe\n"), "run.yaml: cannot be read as UTF-8 text: …"),
    Row(
        "a dozen lines that mean a billion values",
        lambda b: b.config(bomb()),
        "run.yaml: not valid YAML: its aliases expand to more than 100,000 values: write the values out",
    ),
    Row(
        "a value that holds itself",
        lambda b: b.config("training: &x {epochs: *x}\n"),
        "run.yaml: not valid YAML: its aliases expand to more than 100,000 values: write the values out",
    ),
    Row(
        "a Python object",
        lambda b: b.config("seed: !!python/object/apply:os.system [ls]\n"),
        "run.yaml: not valid YAML: …",
    ),
    Row(
        "a configuration of a megabyte",
        lambda b: b.config("# " + "x" * 2**20),
        "run.yaml: longer than 1,048,576 characters; expected a file of settings",
    ),
    Row(
        "a zero byte in a file's name",
        lambda b: b.config('recipe: "a\\0.yaml"\n'),
        "a\\x00.yaml: cannot be read as UTF-8 text: …",
    ),
    Row(
        "a recipe with an unknown key",
        lambda b: recipe(b, TERMS + "tempr: fixed\n"),
        "unknown key in recipe my.yaml 'tempr': did you mean 'temperature'? known: …",
    ),
    Row(
        "a recipe with an unknown component",
        lambda b: recipe(b, TERMS + "correction: label_revison\n"),
        "unknown correction component 'label_revison': did you mean 'label_revision'? known: …",
    ),
    Row(
        "a recipe without a term",
        lambda b: recipe(b, "correction: label_revision\n"),
        "recipe my.yaml: terms is missing",
    ),
    Row("an unknown verb", lambda b: ["distil"], "unknown verb 'distil': did you mean 'distill'? known: …"),
    Row(
        "a folder that is not empty",
        full,
        "out: not empty; a run never overwrites: choose another --out, or remove it first",
    ),
    Row(
        "a run that was stopped in the folder",
        lambda b: [*b.train()[:-1], b.without_student()],
        "run: holds a stopped run: preceptor resume run, or choose another --out",
    ),
    Row(
        "a student of a run that was stopped",
        lambda b: ["evaluate", b.without_student()],
        "run: no student yet: the run was stopped, or is going on: preceptor resume run",
    ),
    Row("a file where a folder belongs", taken, "out: is a file, a run needs a folder: choose another --out"),
    Row(
        "a run to go on with that is complete",
        not_stopped,
        "teacher: the run is complete: there is nothing to go on with",
    ),
    Row(
        "a run to go on with whose settings were changed",
        resettled,
        (
            "run/run.yaml: its settings are not those that the run was started with: undo the change, or start a new "
            "run with --config run/run.yaml"
        ),
    ),
    Row(
        "a link in a run to go on with",
        linked,
        "run/checkpoint: a link, and a run makes none: put what it leads to there, or remove it",
    ),
    Row(
        "a pipe for a configuration",
        lambda b: b.train("--config", a_pipe(b)),
        "pipe.yaml: cannot be read: a directory, a pipe or a device: give a file",
    ),
    Row(
        "nothing where a path belongs",
        lambda b: ["predict", b.sound_teacher, ""],
        "an empty argument: give a value, or leave it out with its option",
    ),
    Row(
        "a page in the place of weights",
        lambda b: ["evaluate", b.sound_teacher, "--page", b.sound_teacher / "student.safetensors"],
        "teacher/student.safetensors: exists and is no evaluation page; name another with --page, or remove it",
    ),
    Row(
        "more resamples than anybody waits for",
        lambda b: ["evaluate", b.sound_teacher, "--no-page", "--resamples", 10**12],
        "resamples is 1000000000000; expected a whole number at least 1 and at most 100,000, for example 1000",
    ),
    Row(
        "a risk too small to be guaranteed",
        lambda b: ["calibrate", b.sound_teacher, "--max-risk", 1e-300],
        "max_risk is 1e-300; expected a number at least 1e-09 and at most 1, for example 0.05",
    ),
    Row(
        "a lock that is a link",
        lambda b: ["train", *SMALL, "--out", lock_elsewhere(b)],
        "locked/.lock: a link, and a run makes none: remove it",
    ),
    Row(
        "a term in whose time no step begins",
        lambda b: recipe(b, "terms: {ce: {label_loss: cross_entropy}, kl: {loss: kl, since: 0.99, until: 0.991}}\n"),
        (
            "student 'student': term 'kl' is active from 0.99 to 0.991 of training, but none of the 4 steps begins "
            "then: train longer, or give the term more time"
        ),
    ),
    Row(
        "another run in the folder",
        lambda b: b.train(),
        "out: process … is running here: wait for it, or choose another --out",
        during=another_run,
    ),
    Row(
        "a folder that may not be written",
        lambda b: [*b.train()[:-1], b.readable_only()],
        "locked/run: cannot be written: Permission denied: choose another --out",
        3,
        during=without_privileges,
    ),
    Row(
        "more memory asked for than there is",
        lambda b: b.train(),
        f"out of memory (asked for … at once): {LESS_MEMORY}",
        3,
        during=no_memory_left,
    ),
    Row(
        "more memory asked for in a step than there is",
        lambda b: b.train(),
        f"out of memory (asked for … at once): {LESS_MEMORY}",
        3,
        during=no_memory_for_a_step,
    ),
    Row(
        "CUDA graphs on a CPU",
        lambda b: b.train("--compile", "graph"),
        "compile = graph: cpu has no graphs: use auto, never or always",
        3,
    ),
    Row(
        "a folder inside a file",
        lambda b: [*b.train()[:-1], b.file("notes.txt", b"dear") / "run"],
        "notes.txt/run: cannot be written: Not a directory: choose another --out",
        3,
    ),
]
