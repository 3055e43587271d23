import argparse
import os
import re
import subprocess
import sys
import warnings
from importlib import import_module
from io import BytesIO

import pytest
from PIL import Image

from preceptor import __version__
from preceptor.cli import main as main_module
from preceptor.cli.main import LESS_MEMORY, VERBS, main
from preceptor.errors import InputError, MachineError


def shown(capsys, *arguments: str) -> str:
    """What --help or --version prints before it leaves with 0."""
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 0
    return capsys.readouterr().out


def test_version(capsys):
    assert shown(capsys, "--version") == f"preceptor {__version__}\n"


def test_help_lists_every_verb_with_a_line(capsys):
    text = shown(capsys, "--help")
    for verb, line in VERBS.items():
        assert re.search(rf"^ +{verb} .*{re.escape(line)}$", text, re.MULTILINE)


def test_without_a_verb_the_help_is_shown(capsys):
    assert main([]) == 0
    assert "verbs" in capsys.readouterr().out


@pytest.mark.parametrize("verb", VERBS)
def test_every_verbs_help_has_examples_of_it(capsys, verb):
    text = shown(capsys, verb, "--help")
    examples = text.partition("examples:")[2]
    assert examples.count(f"preceptor {verb}") >= 2
    assert f"usage: preceptor {verb}" in text


def example_lines() -> list[str]:
    texts = []
    for verb in VERBS:
        parser = argparse.ArgumentParser()
        import_module(f"preceptor.cli.{verb}").add_arguments(parser)
        texts.append(parser.epilog)
    joined = "\n".join(texts).replace("\\\n", " ")
    return [line.strip() for line in joined.splitlines() if line.strip().startswith("preceptor ")]


@pytest.mark.parametrize("line", example_lines())
def test_every_example_can_be_parsed(monkeypatch, line):
    _, verb, *arguments = line.split()
    seen = []
    monkeypatch.setattr(import_module(f"preceptor.cli.{verb}"), "run", seen.append)
    assert main([verb, *arguments]) == 0
    assert seen[0].verb == verb


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_speaks_json(capsys, verb):
    assert "--json" in shown(capsys, verb, "--help")


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (InputError("a.npz: no such file:\n  give another"), 2, "preceptor: a.npz: no such file: give another\n"),
        (MachineError("no space"), 3, "preceptor: no space\n"),
        (OSError(28, "No space left on device", "runs/a"), 3, "preceptor: runs/a: No space left on device\n"),
        (
            MemoryError("Unable to allocate 7.28 TiB for an array"),
            3,
            f"preceptor: out of memory (asked for 7.28 TiB at once): {LESS_MEMORY}\n",
        ),
        (KeyboardInterrupt(), 130, "preceptor: interrupted\n"),
    ],
)
def test_an_error_is_one_line_and_an_exit_code(monkeypatch, capsys, error, code, told):
    from preceptor.cli import methods

    def fail(arguments):
        raise error

    monkeypatch.setattr(methods, "run", fail)
    assert main(["methods"]) == code
    assert capsys.readouterr() == ("", told)


def test_torch_without_memory_is_one_line_too(monkeypatch, capsys):
    import torch

    from preceptor.cli import methods

    monkeypatch.setattr(methods, "run", lambda _: torch.empty(2**58))
    assert main(["methods"]) == 3
    told = "preceptor: out of memory (asked for 1152921504606846976 bytes at once): "
    assert capsys.readouterr().err == f"{told}{LESS_MEMORY}\n"


def test_our_warnings_are_one_line(monkeypatch, capsys):
    from preceptor.cli import methods
    from preceptor.errors import SkippedImages

    def warn(arguments):
        warnings.warn_explicit("left out\n  \x1b[2Jone", SkippedImages, methods.__file__, 1)

    monkeypatch.setattr(methods, "run", warn)
    before = warnings.showwarning
    assert main(["methods"]) == 0
    assert capsys.readouterr().err == "preceptor: left out \\x1b[2Jone\n"
    assert warnings.showwarning is before


def test_pillow_warns_of_nothing(monkeypatch, capsys, tmp_path):
    """Here of damaged tags; the warnings of other libraries are shown."""
    from preceptor.cli import methods

    exif = Image.Exif()
    exif[0x010F] = "the name of a maker"
    Image.new("RGB", (9, 9)).save(tmp_path / "a.jpg", exif=exif)
    content = bytearray((tmp_path / "a.jpg").read_bytes())
    content[content.index(b"Exif") + 20] = 0xFF  # in the length of the tag

    def look(arguments):
        Image.open(BytesIO(content)).getexif()
        warnings.warn_explicit("of another", UserWarning, "other.py", 1, module="other")

    with pytest.warns(UserWarning, match="Skipping tag 271"):
        Image.open(BytesIO(content)).getexif()
    monkeypatch.setattr(methods, "run", look)
    assert main(["methods"]) == 0
    assert capsys.readouterr().err == "other.py:1: UserWarning: of another\n"


def test_a_fault_of_our_own_is_not_hidden(monkeypatch):
    from preceptor.cli import methods

    def fail(arguments):
        raise RuntimeError("a bug")

    monkeypatch.setattr(methods, "run", fail)
    with pytest.raises(RuntimeError, match="a bug"):
        main(["methods"])


def python(*arguments: str, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False, **options)


def test_help_is_quick_because_it_imports_nothing_heavy():
    """Of all verbs but bench, whose options the experiments define. Imports are counted, for clocks differ."""
    heavy = "{'torch', 'numpy', 'filelock', 'scipy', 'sklearn', 'pydantic', 'yaml', 'rich', 'PIL', 'vl_convert'}"
    for arguments in (["--help"], *([verb, "--help"] for verb in VERBS if verb != "bench")):
        code = (
            "import sys\nfrom preceptor.cli.main import main\n"
            f"try: main({arguments!r})\nexcept SystemExit: pass\n"
            f"sys.exit(' '.join({heavy} & set(sys.modules)) or 0)"
        )
        done = python("-c", code)
        assert done.returncode == 0, (arguments, done.stderr)


def test_as_a_module():
    done = python("-m", "preceptor", "--version")
    assert (done.returncode, done.stdout) == (0, f"preceptor {__version__}\n")


def test_the_exit_code_reaches_the_shell():
    done = python("-m", "preceptor", "distil")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("preceptor: unknown verb 'distil': did you mean 'distill'?")
    assert done.stderr.count("\n") == 1


@pytest.mark.skipif(not hasattr(os, "pipe2"), reason="needs a pipe nobody reads")
def test_a_reader_that_has_seen_enough_is_no_error():
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "preceptor", "methods"], stdout=writer, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writer)
    assert done.stderr == ""
    assert done.returncode == main_module.PIPE_CLOSED


ENDED_AT_WORK = """
import os, signal, sys, time
from pathlib import Path
from preceptor.cli import main, methods
from preceptor.files import whole_file

def work(arguments):
    with whole_file(Path(sys.argv[1])) as file:
        file.write("half")
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(30)

methods.run = work
code = main.main(["methods"])
assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
sys.exit(code)
"""


@pytest.mark.skipif(os.name != "posix", reason="Windows has no signal that ends a process so that it notices")
def test_ended_from_outside_it_leaves_nothing_half_written(tmp_path):
    done = python("-c", ENDED_AT_WORK, str(tmp_path / "out.txt"))
    assert (done.returncode, done.stdout) == (143, "")
    assert done.stderr == "preceptor: ended from outside\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("encoding", "of"), [("gbk", "nothing"), ("cp932", "nothing"), ("ascii", "a run")])
def test_letters_that_the_output_lacks_are_replaced(encoding, of, tmp_path, teacher):
    folder = teacher if of == "a run" else tmp_path / "größe\u00a0x"
    command = [sys.executable, "-m", "preceptor", "evaluate", str(folder), "--no-page"]
    done = subprocess.run(command, check=False, capture_output=True, env={**os.environ, "PYTHONIOENCODING": encoding})
    assert b"Traceback" not in done.stderr
    assert b"accuracy" in done.stdout if of == "a run" else done.stderr.startswith(b"preceptor: ")


@pytest.mark.skipif(os.name != "posix", reason="closes a file as a shell does")
def test_with_its_output_closed_it_works_all_the_same(tmp_path):
    command = f"'{sys.executable}' -m preceptor methods --json >&- 2>'{tmp_path / 'said'}'"
    assert subprocess.run(command, shell=True, check=False).returncode == 0
    assert (tmp_path / "said").read_text() == ""
