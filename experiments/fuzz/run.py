"""Fuzz what reads a stranger's files, guided by coverage: ``python experiments/fuzz/run.py --seconds 60``.

Exit code 0 only when no target let anything out but the project's own errors; the last line is a summary in JSON.
"""

import argparse
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT))


def main() -> int:
    arguments = parsed()
    if importlib.util.find_spec("atheris") is None:
        print("fuzzing by coverage needs atheris: pip install atheris (Linux, Python 3.11 to 3.13)", file=sys.stderr)
        return 3
    from tests.fuzz.targets import TARGETS

    names = arguments.target or sorted(TARGETS)
    unknown = sorted(set(names) - set(TARGETS))
    if unknown:
        print(f"unknown target {unknown[0]!r}: known: {', '.join(sorted(TARGETS))}", file=sys.stderr)
        return 2
    failed = [name for name in names if not fuzz(name, arguments.seconds, arguments.work)]
    print(json.dumps({"targets": len(names), "seconds_each": arguments.seconds, "failed": failed}))
    return 1 if failed else 0


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="of each target (default 60)")
    parser.add_argument("--target", action="append", help="this one only; may be given several times (default all)")
    parser.add_argument("--work", type=Path, default=Path("fuzz-work"), help="where corpora and findings are kept")
    return parser.parse_args()


def fuzz(name: str, seconds: int, work: Path) -> bool:
    """Run one target in a process of its own, from the corpus that earlier runs left; whether it held."""
    from tests.fuzz.targets import TARGETS

    corpus, findings = work / name / "corpus", work / name / "findings"
    corpus.mkdir(parents=True, exist_ok=True)
    findings.mkdir(exist_ok=True)
    for number, seed in enumerate(TARGETS[name].seeds()):
        (corpus / f"seed-{number}").write_bytes(seed)
    limits = [f"-max_total_time={seconds}", "-timeout=20", "-rss_limit_mb=4096", "-max_len=65536"]
    command = [sys.executable, str(HERE / "target.py"), name, str(corpus), *limits, f"-artifact_prefix={findings}/"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    told = done.stderr.splitlines()
    print(f"{name}: {'held' if done.returncode == 0 else 'FAILED'}: {told[-1] if told else ''}", flush=True)
    if done.returncode != 0:
        print("\n".join([*done.stdout.splitlines()[-30:], *told[-5:]]), file=sys.stderr)
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
