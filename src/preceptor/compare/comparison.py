"""The plan of a comparison: recipes, teachers, settings and seeds, and the run that each combination is."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator

from preceptor.config import FrozenModel, validated
from preceptor.errors import InputError, unknown_name
from preceptor.loss import DistillationLoss
from preceptor.recipes import build_recipe_parts
from preceptor.run.config import RunConfig, Teachers, resolve
from preceptor.run.members import kind_of
from preceptor.run.together import TEACHER_SETTINGS

RUNS = "runs"
"""The folder of the runs, in that of the comparison."""


class Comparison(FrozenModel):
    """What to compare.

    Attributes:
        run: the settings that all runs share, as in a run's configuration.
        recipes: by name the settings of its runs: ``recipe``, and dotted keys such as ``training.learning_rate``.
        teachers: by name; of several paths each is an ensemble. Recipes of labels alone are trained once for all.
        vary: values of dotted keys; every recipe is trained with each combination.
        seeds: each draws weights, order and views anew.
        baseline: the recipe that the others are compared with.
    """

    run: dict[str, Any] = Field(default_factory=dict)
    recipes: dict[str, dict[str, Any]] = Field(min_length=1)
    teachers: dict[str, Teachers] = Field(default_factory=dict)
    vary: dict[str, tuple[Any, ...]] = Field(default_factory=dict)
    seeds: tuple[int, ...] = (0, 1, 2)
    baseline: str

    @field_validator("seeds", mode="before")
    @classmethod
    def _count_or_list(cls, value: object) -> object:
        """A number of seeds is that many, from 0."""
        return tuple(range(value)) if isinstance(value, int) and not isinstance(value, bool) else value

    @field_validator("seeds")
    @classmethod
    def _different(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if not seeds or len(set(seeds)) < len(seeds):
            raise ValueError("expected one seed or more, each once")
        return seeds


@dataclass(frozen=True)
class Cell:
    """One run of a comparison.

    Attributes:
        recipe: its name in the comparison.
        teacher: that of its teacher; None where the recipe uses none.
        settings: those of ``vary`` that it has.
        seed: of its weights, order and views.
        config: everything.
        place: its folder, within that of the comparison.
    """

    recipe: str
    teacher: str | None
    settings: Mapping[str, Any]
    seed: int
    config: RunConfig
    place: Path


def comparison(
    recipes: Sequence[str] | Mapping[str, Mapping[str, Any]],
    *,
    run: Mapping[str, Any],
    teachers: Mapping[str, Any] | Sequence[Any] = (),
    vary: Mapping[str, Sequence[Any]] | None = None,
    seeds: int | Sequence[int] = 3,
    baseline: str | None = None,
) -> Comparison:
    """A checked comparison.

    Args:
        recipes: names or files; or by name the settings in which the runs of each differ.
        run: the settings that all runs share.
        teachers: by name, or a list of paths, which are named by their last parts.
        vary: lists of values by dotted key.
        seeds: how many, or which. Default 3.
        baseline: default "kd" if it is among the recipes, else the first.

    Raises:
        InputError: an unknown name or setting, two things of one name or folder, or a recipe that needs a teacher and
            has none.
    """
    named = recipes if isinstance(recipes, Mapping) else {Path(name).stem: {"recipe": name} for name in recipes}
    content = {
        "run": dict(run),
        "recipes": {name: {"recipe": name, **(settings or {})} for name, settings in named.items()},
        "teachers": teachers if isinstance(teachers, Mapping) else _named(teachers),
        "vary": dict(vary or {}),
        "seeds": seeds,
        "baseline": baseline or ("kd" if "kd" in named else next(iter(named), "")),
    }
    if len(named) < len(recipes):
        raise InputError(f"recipes {', '.join(map(str, recipes))}: two have one name: give each a name of its own")
    plan = validated(Comparison, content, "the comparison")
    if plan.baseline not in plan.recipes:
        raise unknown_name("baseline", plan.baseline, plan.recipes)
    places = Counter(cell.place for cell in cells(plan))
    if shared := [place for place, runs in places.items() if runs > 1]:
        raise InputError(
            f"two runs of the comparison would share folder {shared[0]}: use names and values that differ in letters "
            "or digits, or two comparisons"
        )
    return plan


def _named(teachers: Sequence[Any]) -> dict[str, Any]:
    """By the last part of each path, or by all of it where two are alike."""
    paths = [Path(teacher) for teacher in teachers]
    stems = [path.stem if path.suffix else path.name for path in paths]
    return {stem if stems.count(stem) == 1 else str(path): path for stem, path in zip(stems, paths, strict=True)}


def cells(plan: Comparison) -> Iterator[Cell]:
    """Every run, seed by seed.

    Raises:
        InputError: settings of a run that do not fit.
    """
    several = len(plan.teachers) > 1
    for seed, values in product(plan.seeds, product(*plan.vary.values())):
        settings = dict(zip(plan.vary, values, strict=True))
        for name, own in plan.recipes.items():
            config = _config(plan, name, {**own, **settings, "seed": seed})
            uses_teacher = DistillationLoss(**build_recipe_parts(config.recipe)).uses_teacher
            if uses_teacher and not plan.teachers and config.cache is None and not config.teachers:
                raise InputError(f"recipe {name!r} needs a teacher: give --teacher, or compare recipes of labels alone")
            names: list[str | None] = [*plan.teachers] if uses_teacher and plan.teachers else [None]
            for teacher in names:
                changes: dict[str, Any] = dict.fromkeys(TEACHER_SETTINGS) if not uses_teacher else {}
                if teacher is not None:
                    changes = _teacher_settings(plan.teachers[teacher])
                labels = [f"{key}={value}" for key, value in settings.items()]
                parts = [name, *([teacher] if several and teacher is not None else []), *labels, f"seed-{seed}"]
                place = Path(RUNS, *(re.sub(r"[^\w.=+-]+", "-", part).strip(".") or "-" for part in parts))
                yield Cell(name, teacher, settings, seed, config.model_copy(update=changes), place)


def _teacher_settings(teacher: Path | tuple[Path, ...] | None) -> dict[str, Any]:
    """The settings of a teacher; those of files are left away for run folders, which would refuse them."""
    paths = teacher if isinstance(teacher, tuple) else (teacher,)
    networks = all(path is not None and kind_of(path) == "network" for path in paths)
    return {"teacher": teacher, **(dict.fromkeys(("teacher_output", "teacher_normalization")) if networks else {})}


def _config(plan: Comparison, name: str, settings: Mapping[str, Any]) -> RunConfig:
    content = {key: value for key, value in plan.run.items() if "." not in key}
    recipe = settings.get("recipe", name)
    dotted = [(key, value) for key, value in plan.run.items() if "." in key]
    own = [(key, value) for key, value in settings.items() if key != "recipe"]
    return resolve({**content, "recipe": recipe}, [*dotted, *own], f"recipe {name} of the comparison")
