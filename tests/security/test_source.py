"""Nothing in the source can run what a file holds."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "preceptor"
FILES = sorted(SOURCE.rglob("*.py"))

NEVER_IMPORTED = {"pickle", "_pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle", "joblib"}
NEVER_IMPORTED |= {"subprocess", "urllib", "requests", "httpx", "http", "ftplib", "xmlrpc", "telnetlib"}
BUILT_IN = {"eval", "exec", "compile", "__import__", "breakpoint"}
NEVER_CALLED = {"system", "popen", "extract", "extractall", "unpack_archive", "unsafe_load", "full_load", "load_all"}
NEVER_CALLED |= {"load_state_dict_from_url", "download_url_to_file"}


def dotted(node: ast.expr) -> str:
    """``np.load`` as it is written; empty for what is no name."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return ""


def keyword(call: ast.Call, name: str) -> object:
    found = next((word.value for word in call.keywords if word.arg == name), None)
    return found.value if isinstance(found, ast.Constant) else None


def faults(tree: ast.AST) -> Iterator[str]:
    """What the source must not do, and where."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            yield from (f"line {node.lineno}: imports {name}" for name in names if name.split(".")[0] in NEVER_IMPORTED)
        elif isinstance(node, ast.Call):
            yield from (f"line {node.lineno}: {fault}" for fault in _faults_of_call(node))


def _faults_of_call(call: ast.Call) -> Iterator[str]:
    name = dotted(call.func)
    last = name.rpartition(".")[2]
    if name.removeprefix("builtins.") in BUILT_IN or last in NEVER_CALLED:
        yield f"calls {name}"
    if name == "torch.load" and keyword(call, "weights_only") is not True:
        yield "torch.load without weights_only=True"
    if name in ("np.load", "numpy.load") and keyword(call, "allow_pickle") is not False:
        yield "np.load without allow_pickle=False"
    if name in ("yaml.load", "yaml.Loader", "yaml.UnsafeLoader", "yaml.FullLoader"):
        yield f"{name} rather than our own loader"
    if last == "Markup" and call.args and not isinstance(call.args[0], ast.Constant):
        yield "Markup of what is not written in the source"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_nothing_is_unpickled_run_or_fetched(path: Path) -> None:
    assert not list(faults(ast.parse(path.read_text(encoding="utf-8"))))


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import load",
        "import torch\ntorch.load('x')",
        "torch.load('x', weights_only=False)",
        "np.load('x')",
        "np.load('x', allow_pickle=True)",
        "yaml.load(text, yaml.Loader)",
        "yaml.unsafe_load(text)",
        "eval(text)",
        "builtins.exec(text)",
        "os.system('ls')",
        "archive.extract(member)",
        "archive.extractall('.')",
        "Markup(name)",
        "import urllib.request",
    ],
)
def test_what_is_forbidden_is_noticed(source: str) -> None:
    assert list(faults(ast.parse(source)))


@pytest.mark.parametrize(
    "source",
    [
        "network.eval()",
        "torch.load('x', weights_only=True)",
        "np.load('x', allow_pickle=False)",
        "re.compile('x')",
        "network.compile()",
        "Markup('<wbr>')",
    ],
)
def test_what_is_sound_is_let_through(source: str) -> None:
    assert not list(faults(ast.parse(source)))


def test_the_yaml_loader_is_the_safe_one() -> None:
    import yaml

    from preceptor.config import _Loader

    assert issubclass(_Loader, yaml.SafeLoader)
    assert not issubclass(_Loader, yaml.FullLoader | yaml.UnsafeLoader)
    assert not any("python" in str(tag) for tag in _Loader.yaml_constructors)
