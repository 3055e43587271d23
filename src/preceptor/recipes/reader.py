"""Reads a recipe, a named chain in YAML, and builds its stages."""

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, TypedDict

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from preceptor.catalogue import build_stage
from preceptor.config import read_yaml, validated, with_overrides
from preceptor.errors import unknown_name
from preceptor.stage import Correction, Kind, Selection, Temperature
from preceptor.terms import Reduction, Term


class StageChoice(BaseModel):
    """A stage by name, with its options beside: ``{stage: label_revision, eta: 0.8}`` or just the name."""

    model_config = ConfigDict(extra="allow", frozen=True)

    stage: str

    def build(self, kind: Kind) -> Any:
        """The stage itself, its options checked."""
        return build_stage(kind, self.stage, self.model_extra)


def _named(choice: object) -> object:
    return {"stage": choice} if isinstance(choice, str) else choice


Choice = Annotated[StageChoice, BeforeValidator(_named)]


class TermEntry(BaseModel):
    """One named loss: a match or a truth, its weight, the samples it is for, and the share of training it is for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    match: Choice | None = None
    truth: Choice | None = None
    weight: float = 1.0
    where: str | None = None
    reduction: Reduction = "batch"
    since: float = 0.0
    until: float = 1.0

    @model_validator(mode="after")
    def _one_loss(self) -> "TermEntry":
        if (self.match is None) == (self.truth is None):
            raise ValueError("a term has either match or truth")
        return self

    def build(self) -> Term:
        """The term with its stage."""
        loss = self.match.build("match") if self.match is not None else self.truth.build("truth")  # type: ignore[union-attr]
        return Term(loss, self.weight, self.where, self.reduction, self.since, self.until)


class RecipeFile(BaseModel):
    """What a recipe file holds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    about: str = ""
    paper: str = ""
    correct: Choice | None = None
    temper: Choice | None = None
    select: Choice | None = None
    terms: dict[str, TermEntry] = Field(min_length=1)


class ChainParts(TypedDict):
    """The arguments of :class:`preceptor.Chain`."""

    correct: Correction | None
    temper: Temperature | None
    select: Selection | None
    terms: dict[str, Term]


def _folder() -> Path:
    return Path(str(files("preceptor.recipes")))


def recipe_names() -> list[str]:
    """The recipes that come with the package."""
    return sorted(path.stem for path in _folder().glob("*.yaml"))


def read_recipe(name: str | Path, overrides: Mapping[str, Any] | None = None) -> RecipeFile:
    """Read a recipe by name, or from a file when the name ends in .yaml, with dotted overrides.

    Args:
        name: one of :func:`recipe_names`, or a path to a YAML file.
        overrides: for example ``{"correct.eta": 0.5, "terms.kl.weight": 1.0}``.

    Raises:
        InputError: unknown recipe or key (nearest offered), or a value that does not fit.
    """
    text = str(name)
    if text.endswith((".yaml", ".yml")):
        path = Path(text)
    elif text in recipe_names():
        path = _folder() / f"{text}.yaml"
    else:
        raise unknown_name("recipe", text, recipe_names())
    content = with_overrides(read_yaml(path), (overrides or {}).items())
    return validated(RecipeFile, content, f"recipe {text}")


def build_chain_parts(content: RecipeFile) -> ChainParts:
    """Build the stages of a recipe.

    Raises:
        InputError: an unknown stage or option, or an option that does not fit.
    """
    return ChainParts(
        correct=content.correct.build("correct") if content.correct else None,
        temper=content.temper.build("temper") if content.temper else None,
        select=content.select.build("select") if content.select else None,
        terms={name: entry.build() for name, entry in content.terms.items()},
    )


def recipe(name: str | Path, overrides: Mapping[str, Any] | None = None) -> ChainParts:
    """The arguments of a chain for a named recipe: ``Chain(**recipe("kd"))``. See :func:`read_recipe`."""
    return build_chain_parts(read_recipe(name, overrides))
