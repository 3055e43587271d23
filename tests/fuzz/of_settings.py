"""Recipes, configurations, overrides, and result files."""

import json
from importlib.resources import files
from pathlib import Path

from tests.fuzz.registry import target


def _recipes() -> list[bytes]:
    return [path.read_bytes() for path in sorted(Path(str(files("preceptor.recipes"))).glob("*.yaml"))]


def _settings() -> list[bytes]:
    return [
        b"data: digits\nseed: 1\nrecipe: kd\ntraining: {epochs: 3, learning_rate: 1e-3}\n",
        b"base: &b {name: kl}\nrecipe: {terms: {kl: {loss: *b, weight: 0.5}}}\nvalidation: 0.2\n",
        b"teacher: [a, b]\nensemble_weights: [1, 2]\nteacher_normalization: {mean: [0.5], std: [0.1]}\n",
    ]


@target(_recipes)
def recipe(folder: Path, content: bytes) -> None:
    from preceptor.loss import DistillationLoss
    from preceptor.recipes import build_recipe_parts
    from preceptor.recipes.reader import read_recipe

    path = folder / "my.yaml"
    path.write_bytes(content)
    DistillationLoss(**build_recipe_parts(read_recipe(path)))


@target(_settings)
def configuration(folder: Path, content: bytes) -> None:
    from preceptor.run import read_config, resolve

    path = folder / "run.yaml"
    path.write_bytes(content)
    resolve(read_config(path), where=str(path))


@target(
    lambda: [b"seed=1", b"training.epochs=5", b"recipe.correction={name: label_revision, eta: 0.5}", b"teacher=[a,b]"]
)
def override(folder: Path, content: bytes) -> None:
    from preceptor.config import parse_override
    from preceptor.run import resolve

    resolve({}, [parse_override(content.decode(errors="surrogateescape"))])


_ROOT = Path(__file__).parents[2]


@target(lambda: [(_ROOT / "results" / "correlation.json").read_bytes(), json.dumps({"study": "correlation"}).encode()])
def study_result(folder: Path, content: bytes) -> None:
    from experiments.studies.engine import load_result
    from experiments.studies.engine.table import markdown

    (folder / "result.json").write_bytes(content)
    markdown(load_result(folder / "result.json"))


@target(lambda: [(_ROOT / "results" / "bench" / "speed.json").read_bytes(), b"{}"])
def speed_result(folder: Path, content: bytes) -> None:
    from experiments.speed.result import load_speed
    from experiments.speed.table import speed_markdown

    (folder / "speed.json").write_bytes(content)
    speed_markdown(load_speed(folder / "speed.json"))
