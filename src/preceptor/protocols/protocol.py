"""A protocol as data: pairs of networks, recipes, training, and published numbers."""

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import Field

from preceptor.config import FrozenModel, read_yaml, validated
from preceptor.errors import InputError, unknown_name

FOLDER = Path(str(files("preceptor.protocols")))

Settings = dict[str, Any]
"""Of a run, by dotted key."""


class Pair(FrozenModel):
    """A teacher and a student.

    Attributes:
        teacher, student: architectures.
        settings: of the student's runs, where they differ from the protocol's: a smaller learning rate.
        recipes: the same for single recipes, by name: weights of their losses that were chosen by pair.
        published: accuracies in per cent that were reported: ``teacher``, ``student`` (labels alone), and by recipe.
    """

    teacher: str
    student: str
    settings: Settings = Field(default_factory=dict)
    recipes: dict[str, Settings] = Field(default_factory=dict)
    published: dict[str, float] = Field(default_factory=dict)

    @property
    def name(self) -> str:
        """As on the command line, and of its folder."""
        return f"{self.teacher}-{self.student}".replace(":", "-")


class Protocol(FrozenModel):
    """The content of a protocol file.

    Attributes:
        about: what it is, in a sentence.
        caveats: how the published numbers differ from what is measured here.
        run: settings that all runs share, teachers' and students'.
        teacher: further settings of the teachers' training.
        pretrained_teachers: teachers are networks of a library with its own weights; none is trained.
        recipes: trained by default.
        seeds: students of each recipe.
        pairs: in order.
    """

    about: str
    caveats: tuple[str, ...]
    run: Settings
    teacher: Settings = Field(default_factory=dict)
    pretrained_teachers: bool = False
    recipes: tuple[str, ...] = Field(min_length=2)
    seeds: int = Field(default=3, ge=1)
    pairs: tuple[Pair, ...] = Field(min_length=1)

    def chosen(self, names: Sequence[str]) -> tuple[Pair, ...]:
        """Pairs by name; all of them for no names.

        Raises:
            InputError: no such pair; the nearest is offered.
        """
        by_name = {pair.name: pair for pair in self.pairs}
        for name in names:
            if name not in by_name:
                raise unknown_name("pair", name, by_name)
        return tuple(by_name[name] for name in names) if names else self.pairs


def protocol_names() -> list[str]:
    """The protocols that come with the package."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def read_protocol(name: str | Path) -> Protocol:
    """Read a protocol by name, or from a file when the name ends in .yaml.

    Raises:
        InputError: no such protocol, or content that does not fit.
    """
    text = str(name)
    if not text.endswith((".yaml", ".yml")) and text not in protocol_names():
        raise unknown_name("protocol", text, protocol_names())
    path = Path(text) if text.endswith((".yaml", ".yml")) else FOLDER / f"{text}.yaml"
    protocol = validated(Protocol, read_yaml(path), f"protocol {text}")
    names = [pair.name for pair in protocol.pairs]
    if len(set(names)) < len(names):
        raise InputError(f"protocol {text}: two pairs of the same networks: give one")
    return protocol
