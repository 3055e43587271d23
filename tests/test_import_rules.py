"""Imports point one way, the heavy extras stay outside, and ``import preceptor`` is quick."""

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "preceptor"
FILES = sorted(SOURCE.rglob("*.py"))

COMPONENTS = {
    "recalibrations",
    "corrections",
    "temperatures",
    "selections",
    "losses",
    "label_losses",
    "feature_losses",
    "abstention",
}

LAYERS: list[set[str]] = [
    {"errors"},
    {"extras", "files"},
    {"chunking", "config", "context", "launched", "malloc", "settings", "threads"},
    {"component_types"},
    {"registry"},
    {"fitting"},
    COMPONENTS,
    {"loss_output", "loss_terms"},
    {"loss_checks", "recipes"},
    {"loss_components"},
    {"loss"},
    {"conformance", "data"},
    {"models"},
    {"teachers"},
    {"training", "metrics"},
    {"result_files", "run", "export"},
    {"compare", "integrations"},
    {"audit", "protocols"},
    {"reports"},
    {"api", "cli"},
    {"__main__"},
]
"""A folder or module imports from the layers above its own in this list, and from itself."""

COMPONENTS_MAY_IMPORT = {"chunking", "errors", "context", "component_types", "registry", "fitting"}
FORBIDDEN = {
    "loss": {"conformance"},
    "loss_terms": {"recipes", "conformance"},
    "data": {"loss", "recipes", "conformance"},
    "models": {"loss", "recipes", "conformance"},
    "training": {"recipes", "conformance"},
}
HUB = {"timm", "transformers", "datasets"}
TRACKERS = {"tensorboard", "mlflow", "wandb"}
CLUSTERS = {"submitit", "ray"}
EXTRAS = {"torchvision", "onnxruntime", "onnx", "pyarrow", "cleanlab", "optuna", "fsspec"} | HUB | TRACKERS | CLUSTERS
HEAVY = EXTRAS | {"sklearn", "scipy", "vl_convert", "jinja2"}


def room_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported(node: ast.AST) -> list[str]:
    """The modules an import statement names; ``from preceptor import chain`` counts as ``preceptor.loss``."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports are absolute"
        module = node.module or ""
        return [f"{module}.{alias.name}" for alias in node.names] if module == "preceptor" else [module]
    return []


def at_import_time(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes that run when the module is imported."""
    for child in ast.iter_child_nodes(node):
        for_types_alone = isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"
        if not for_types_alone and not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield child
            yield from at_import_time(child)


def rooms_imported(tree: ast.AST) -> set[str]:
    names = [name for node in ast.walk(tree) for name in imported(node) if name.startswith("preceptor.")]
    return {name.split(".")[1] for name in names} - {"__version__"}


def layer(room: str) -> int:
    found = [number for number, rooms in enumerate(LAYERS) if room in rooms]
    assert found, f"give {room!r} a layer in {__file__}"
    return found[0]


def complaints(room: str, tree: ast.AST) -> list[str]:
    """What is wrong with the imports of a module of this room."""
    others = rooms_imported(tree) - {room}
    if room in COMPONENTS:
        return [f"a component imports {other}" for other in others - COMPONENTS_MAY_IMPORT]
    upward = {other for other in others if layer(other) >= layer(room)} | (others & FORBIDDEN.get(room, set()))
    return [f"{room} imports {other}" for other in upward]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_point_one_way(path: Path) -> None:
    tree = ast.parse(path.read_text())
    if path != SOURCE / "__init__.py":  # the public surface names everything, lazily
        assert complaints(room_of(path), tree) == []


@pytest.mark.parametrize(
    ("room", "line"),
    [
        ("losses", "from preceptor.loss import DistillationLoss"),
        ("losses", "from preceptor.temperatures import Fixed"),
        ("loss", "from preceptor import training"),
        ("recipes", "import preceptor.loss"),
        ("training", "def late():\n    from preceptor.recipes import recipe"),
        ("data", "from preceptor.models import build_model"),
        ("teachers", "from preceptor.training import fit"),
    ],
)
def test_an_import_the_wrong_way_is_noticed(room: str, line: str) -> None:
    assert complaints(room, ast.parse(line))


@pytest.mark.parametrize(
    "path",
    [path for path in FILES if room_of(path) in COMPONENTS],
    ids=lambda path: str(path.relative_to(SOURCE)),
)
def test_a_stage_imports_torch_and_the_standard_library_alone(path: Path) -> None:
    names = {name.split(".")[0] for node in ast.walk(ast.parse(path.read_text())) for name in imported(node)}
    assert names - sys.stdlib_module_names <= {"torch", "jaxtyping", "preceptor"}


def heavy_at_import_time(source: str, heavy: set[str]) -> set[str]:
    names = {name.split(".")[0] for node in at_import_time(ast.parse(source)) for name in imported(node)}
    return names & heavy


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_the_extras_are_imported_only_when_used(path: Path) -> None:
    assert heavy_at_import_time(path.read_text(), EXTRAS) == set()


def test_an_extra_at_module_level_is_noticed_and_a_lazy_one_is_not() -> None:
    assert heavy_at_import_time("try:\n    import timm\nexcept ImportError:\n    timm = None", EXTRAS) == {"timm"}
    assert heavy_at_import_time("class A:\n    from torchvision.ops import nms", EXTRAS) == {"torchvision"}
    assert heavy_at_import_time("def late():\n    import timm", EXTRAS) == set()
    assert heavy_at_import_time("if TYPE_CHECKING:\n    import timm", EXTRAS) == set()


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_nothing_imports_the_experiments_which_no_wheel_has(path: Path) -> None:
    """Not even late: ``cli/bench.py`` looks for them by name, in a checkout alone."""
    names = {name.split(".")[0] for node in ast.walk(ast.parse(path.read_text())) for name in imported(node)}
    assert "experiments" not in names


def test_a_wheel_holds_the_package_alone() -> None:
    project = tomllib.loads((SOURCE.parents[1] / "pyproject.toml").read_text())
    assert project["tool"]["hatch"]["build"]["targets"]["wheel"] == {"packages": ["src/preceptor"]}


def loaded_after(code: str) -> set[str]:
    listing = f"{code}\nimport sys\nprint(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", listing], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_package_loads_no_torch() -> None:
    assert loaded_after("import preceptor; preceptor.__version__") & (HEAVY | {"torch", "numpy", "pydantic"}) == set()


def test_building_a_chain_loads_nothing_heavy() -> None:
    found = loaded_after("from preceptor import DistillationLoss, recipe; DistillationLoss(**recipe('label-revision'))")
    assert "torch" in found
    assert found & HEAVY == set()
