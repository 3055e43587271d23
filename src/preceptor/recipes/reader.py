"""Recipes in YAML: reading one by name or path, and building its components."""

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, TypedDict

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from preceptor.component_types import ComponentType, Correction, Recalibration, Selection, Temperature
from preceptor.config import FrozenModel, read_yaml, validated, with_overrides
from preceptor.errors import unknown_name
from preceptor.loss_terms import LossTerm, Reduction
from preceptor.recipes.composition import composed, with_temperature
from preceptor.registry import build_component


class ComponentConfig(BaseModel):
    """A component by name with its options: ``{name: label_revision, eta: 0.8}``, or just the name."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str

    def build(self, kind: ComponentType) -> Any:
        """Build the component; its options are checked."""
        return build_component(kind, self.name, self.model_extra)


Choice = Annotated[
    ComponentConfig, BeforeValidator(lambda choice: {"name": choice} if isinstance(choice, str) else choice)
]


class LossTermConfig(FrozenModel):
    """One named term: its loss or label loss, its weight, its samples, and its share of training."""

    loss: Choice | None = None
    label_loss: Choice | None = None
    feature_loss: Choice | None = None
    weight: float = 1.0
    where: str | None = None
    reduction: Reduction = "batch"
    since: float = 0.0
    until: float = 1.0
    warmup: float = 0.0

    @model_validator(mode="after")
    def _one_loss(self) -> "LossTermConfig":
        if len(self._choices) != 1:
            raise ValueError("a term has one of loss, label_loss and feature_loss")
        return self

    @property
    def _choices(self) -> dict[ComponentType, ComponentConfig]:
        choices: dict[ComponentType, ComponentConfig | None] = {
            "loss": self.loss,
            "label_loss": self.label_loss,
            "feature_loss": self.feature_loss,
        }
        return {kind: choice for kind, choice in choices.items() if choice is not None}

    def build(self) -> LossTerm:
        """The term with its component."""
        ((kind, choice),) = self._choices.items()
        return LossTerm(
            choice.build(kind), self.weight, self.where, self.reduction, self.since, self.until, self.warmup
        )


class TeacherRange(FrozenModel):
    """The teachers that a recipe is for, by what they say of the students' labeled images before training.

    Attributes:
        accuracy: the least share of the labels that it names.
        overconfidence: its mean confidence may be so far above that share.
        underconfidence: and so far below it.
    """

    accuracy: float = Field(default=0.0, ge=0, le=1)
    overconfidence: float = Field(default=1.0, ge=0, le=1)
    underconfidence: float = Field(default=1.0, ge=0, le=1)


class Recipe(FrozenModel):
    """The content of a recipe file.

    Attributes:
        about, paper: what it does, and where it comes from.
        use, avoid: when to use it, and when not.
        suits: the teachers that it is for, as far as experiments tell; outside of it a run warns.
    """

    about: str = ""
    paper: str = ""
    use: str = ""
    avoid: str = ""
    suits: TeacherRange | None = None
    recalibration: Choice | None = None
    correction: Choice | None = None
    correction_where: str = "wrong_teacher"
    temperature: Choice | None = None
    selection: Choice | None = None
    terms: dict[str, LossTermConfig] = Field(min_length=1)


DESCRIPTIONS = ("about", "paper", "use", "avoid", "suits")
"""The parts of a recipe that change nothing in training."""


class RecipeParts(TypedDict):
    """The arguments of :class:`preceptor.DistillationLoss`."""

    recalibration: Recalibration | None
    correction: Correction | None
    correction_where: str
    temperature: Temperature | None
    selection: Selection | None
    terms: dict[str, LossTerm]


FOLDER = Path(str(files("preceptor.recipes")))


def recipe_names() -> list[str]:
    """The recipes that come with the package."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def read_recipe(name: str | Path, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """Read a recipe by name, or from a file when the name ends in .yaml, with dotted overrides.

    Args:
        name: one of :func:`recipe_names`, a path to a YAML file, or several of these joined by ``+``, see
            :func:`~preceptor.recipes.composition.composed`.
        overrides: for example ``{"correction.eta": 0.5, "terms.kl.weight": 1.0}``. Each of joined recipes takes those
            of its slots and terms, and so they decide what several fill.

    Raises:
        InputError: unknown recipe or key (the nearest is named), or a value that does not fit.
    """
    text = str(name)
    content = with_overrides(_content(text, overrides or {}), (overrides or {}).items())
    return validated(Recipe, content, f"recipe {text}")


def _content(text: str, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """What a recipe's file says, or those of several that are joined."""
    for name in recipe_names():
        if sorted(name.split("+")) == sorted(text.split("+")):  # a join that has a file, in whichever order
            return read_yaml(FOLDER / f"{name}.yaml")
    is_file = text.endswith((".yaml", ".yml"))
    if "+" in text and not (is_file and Path(text).exists()):
        return composed({part: _part(part, overrides) for part in text.split("+")})
    if is_file:
        return read_yaml(Path(text))
    raise unknown_name("recipe", text, recipe_names())


def _part(name: str, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """One of several joined recipes, with the overrides of the slots and terms that it fills."""
    content = _content(name, overrides)
    validated(Recipe, content, f"recipe {name}")
    content = with_temperature(content)
    filled = {slot for slot in content if slot != "terms"} | {f"terms.{term}" for term in content["terms"]}
    own = {key: value for key, value in overrides.items() if any(f"{key}.".startswith(f"{one}.") for one in filled)}
    content = with_overrides(content, own.items())
    validated(Recipe, content, f"recipe {name}")
    return content


def build_recipe_parts(content: Recipe) -> RecipeParts:
    """Build the components of a recipe.

    Raises:
        InputError: an unknown component or option, or an option that does not fit.
    """
    return RecipeParts(
        recalibration=content.recalibration.build("recalibration") if content.recalibration else None,
        correction=content.correction.build("correction") if content.correction else None,
        correction_where=content.correction_where,
        temperature=content.temperature.build("temperature") if content.temperature else None,
        selection=content.selection.build("selection") if content.selection else None,
        terms={name: entry.build() for name, entry in content.terms.items()},
    )


def recipe(name: str | Path, overrides: Mapping[str, Any] | None = None) -> RecipeParts:
    """Arguments of the loss for a named recipe: ``DistillationLoss(**recipe("kd"))``. See :func:`read_recipe`."""
    return build_recipe_parts(read_recipe(name, overrides))
