"""Audits what is installed: does it fit together, is it what is pinned, may it be used, is a weakness of it known.

``python tools/audit_dependencies.py PYTHON TOOLS`` looks at the environment of a Python by pip-licenses and pip-audit
from the folder of another. All but the last question is answered offline. pip-audit calls an environment sound of which
no service has told anything: here it is said how many packages were compared, and how many not. Exit code 1 for
whatever is wrong; a service that does not answer is not, unless ``--online`` insists on it.
"""

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
OWN = {"preceptor", "pip", "setuptools", "wheel"}
"""Not pinned: the project itself, and what every environment brings along."""

ALLOWED = {
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CNRI-Python",
    "ISC",
    "MIT",
    "MIT-0",
    "MIT-CMU",
    "PSF-2.0",
    "Unlicense",
    "Zlib",
    "3-Clause BSD License",
    "Apache 2.0 License",
    "Apache Software License",
    "BSD",
    "BSD License",
    "ISC License (ISCL)",
    "MIT License",
    "Python Software Foundation License",
}
"""Licences by their SPDX names, or in the words of those who do not use these."""

ALLOWED_FOR_TOOLS = {"MPL-2.0", "Mozilla Public License 2.0 (MPL 2.0)"}
TOOLS = {"certifi", "hypothesis", "pathspec", "tqdm"}
"""Packages that tests and checks use, and tqdm and certifi (a list of certificates), which extras bring; theirs may ask
for changes to be shared."""

Run = Callable[[list[str]], "subprocess.CompletedProcess[str]"]


@dataclass(frozen=True)
class Answer:
    """What came of a question.

    Attributes:
        line: in words.
        wrong: what is not as it should be.
        untold: of how many packages there was no answer.
    """

    line: str
    wrong: tuple[str, ...] = ()
    untold: int = 0


def run(command: list[str]) -> "subprocess.CompletedProcess[str]":
    """Run a program, whatever it ends with."""
    return subprocess.run(command, capture_output=True, text=True, check=False)


def fits_together(python: str, run: Run = run) -> Answer:
    """pip's own check of every package's requirements."""
    done = run([python, "-m", "pip", "check"])
    lines = tuple(done.stdout.split("\n")[:-1])
    return Answer("fits together (pip check)") if done.returncode == 0 else Answer("does not fit together", lines)


def is_pinned(python: str, constraints: str, run: Run = run) -> Answer:
    """Everything installed is pinned, at the version that is installed; what is pinned and not here is named."""
    listed = json.loads(run([python, "-m", "pip", "list", "--format=json"]).stdout)
    installed = {plain(one["name"]): one["version"] for one in listed}
    pinned = pins(constraints)
    here = {name: version for name, version in installed.items() if name not in OWN}
    wrong = [f"{name} {version} is not pinned" for name, version in here.items() if name not in pinned]
    wrong += [
        f"{name} is {version}, pinned is {pinned[name]}"
        for name, version in here.items()
        if name in pinned and version.split("+")[0] != pinned[name]
    ]
    elsewhere = sorted(pinned.keys() - here.keys())
    beside = f"; pinned for other extras: {', '.join(elsewhere)}" if elsewhere else ""
    return Answer(f"{len(here)} packages as pinned in constraints.txt{beside}", tuple(wrong))


def plain(name: str) -> str:
    """A package's name as indexes write it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(constraints: str) -> dict[str, str]:
    """The versions in a text of constraints, by name."""
    found = re.findall(r"^([\w.-]+)==(\S+)$", constraints, re.MULTILINE)
    return {plain(name): version for name, version in found}


def may_be_used(python: str, tools: Path, run: Run = run) -> Answer:
    """Every package's licence is one that asks for no more than its text and its authors' names."""
    command = [str(tools / "pip-licenses"), "--python", python, "--from=mixed", "--format=json"]
    listed = json.loads(run(command).stdout)
    wrong = [
        f"{one['Name']}: licence {one['License']!r} is not among those allowed"
        for one in listed
        if not permitted(one["License"], plain(one["Name"]))
    ]
    return Answer(f"{len(listed)} licences allowed (pip-licenses)", tuple(wrong))


def permitted(licence: str, package: str = "") -> bool:
    """Whether a licence, or an expression of several, is allowed: all that are joined by AND, one of those by OR."""
    known = ALLOWED | (ALLOWED_FOR_TOOLS if package in TOOLS else set())
    if re.match(r"Apache License\s+Version 2\.0, January 2004\s", licence):  # the whole text in place of its name
        licence = "Apache-2.0"
    if licence in known:
        return True
    parts = [part.strip(" ()") for part in re.split(r"; | AND ", licence)]
    return all(any(choice.strip(" ()") in known for choice in part.split(" OR ")) for part in parts)


def is_known_weak(constraints: Path, tools: Path, run: Run = run) -> Answer:
    """No pin is one of which a weakness is known."""
    how = ["--no-deps", "--disable-pip", "--progress-spinner=off", "--timeout=15", "--format=json"]
    done = run([str(tools / "pip-audit"), "--requirement", str(constraints), *how])
    try:
        told: list[Mapping[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        reason = (done.stderr.strip().splitlines() or ["no word of why"])[-1]
        told = [{"name": name, "skip_reason": reason} for name in pins(constraints.read_text(encoding="utf-8"))]
    skipped = [one["skip_reason"] for one in told if "skip_reason" in one]
    wrong = [
        f"{one['name']} {one['version']}: {weakness['id']}, mended in {', '.join(weakness['fix_versions']) or 'none'}"
        for one in told
        for weakness in one.get("vulns", [])
    ]
    reason = f"; pip-audit was not told of the others: {skipped[0]}" if skipped else ""
    line = f"{len(told) - len(skipped)} of {len(told)} pins compared with known weaknesses (pip-audit){reason}"
    return Answer(line, tuple(wrong), len(skipped))


def report(answers: Iterable[Answer]) -> bool:
    """Print every answer; whether nothing is wrong."""
    sound = True
    for answer in answers:
        print(f"{'WRONG' if answer.wrong else 'NOT ANSWERED' if answer.untold else 'ok'}: {answer.line}")
        print("".join(f"  {line}\n" for line in answer.wrong), end="")
        sound = sound and not answer.wrong
    return sound


def main() -> int:
    """Ask everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("python", help="of the environment to look at")
    parser.add_argument("tools", type=Path, help="folder with pip-licenses and pip-audit")
    parser.add_argument("--online", action="store_true", help="every pin must have been compared with known weaknesses")
    given = parser.parse_args()
    constraints = ROOT / "constraints.txt"
    answers = [
        fits_together(given.python),
        is_pinned(given.python, constraints.read_text(encoding="utf-8")),
        may_be_used(given.python, given.tools),
        is_known_weak(constraints, given.tools),
    ]
    sound = report(answers)
    return 0 if sound and not (given.online and any(answer.untold for answer in answers)) else 1


if __name__ == "__main__":
    sys.exit(main())
