"""Slurm's commands as far as submitit calls them: jobs are processes of this machine, and begin at once.

The name that the script is called by is the command; ``FAKE_SLURM`` is the folder of what it keeps.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

STATE = Path(os.environ.get("FAKE_SLURM", "."))


def install(folder: Path) -> Path:
    """Put the commands into a folder for the path."""
    folder.mkdir()
    script = f"#!{sys.executable}\n{Path(__file__).read_text()}"
    for name in ("sbatch", "srun", "sacct", "scancel", "scontrol"):
        (folder / name).write_text(script)
        (folder / name).chmod(0o755)
    return folder


def sbatch(script: str) -> None:
    if (STATE / "full").exists():
        sys.exit("sbatch: error: Batch job submission failed: Requested time limit is invalid")
    number = len(list(STATE.glob("*.sh"))) + 1
    kept = shutil.copy(script, STATE / f"{number}.sh")
    array = re.search(r"--array=0-(\d+)", Path(kept).read_text())
    for task in range(int(array[1]) + 1) if array else [""]:
        subprocess.Popen(
            [sys.executable, __file__, "run", str(number), str(task)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    print(f"Submitted batch job {number}")


def run(number: str, task: str) -> None:
    name = f"{number}_{task}" if task else number
    array = {"SLURM_ARRAY_JOB_ID": number, "SLURM_ARRAY_TASK_ID": task} if task else {}
    while True:
        job = subprocess.Popen(
            ["bash", STATE / f"{number}.sh"],
            env={**os.environ, "SLURM_JOB_ID": number, **array},
            start_new_session=True,
        )
        (STATE / f"{name}.pid").write_text(str(job.pid))
        code = job.wait()
        if not (STATE / f"{name}.requeue").exists():
            break
        (STATE / f"{name}.requeue").unlink()
    canceled = (STATE / f"{name}.canceled").exists()
    (STATE / f"{name}.state").write_text("CANCELLED" if canceled else "FAILED" if code else "COMPLETED")


def srun(*arguments: str) -> None:
    options = dict(pairwise(arguments))
    command = arguments[arguments.index(options["--error"]) + 1 :]
    number, task = (os.environ.get(f"SLURM_ARRAY_{name}_ID", "") for name in ("JOB", "TASK"))
    for descriptor, option in ((1, "--output"), (2, "--error")):
        path = options[option].replace("%A", number).replace("%a", task).replace("%t", "0")
        path = path.replace("%j", os.environ["SLURM_JOB_ID"])
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), descriptor)
    os.execvp(command[0], command)


def sacct(*arguments: str) -> None:
    print("JobID|State|NodeList")
    for path in STATE.glob("*.pid"):
        state = path.with_suffix(".state")
        print(f"{path.stem}|{state.read_text() if state.exists() else 'RUNNING'}|here")


def scancel(name: str) -> None:
    (STATE / f"{name}.canceled").touch()
    group = int((STATE / f"{name}.pid").read_text())
    os.killpg(group, signal.SIGTERM)
    time.sleep(2)
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def scontrol(_: str, name: str) -> None:
    (STATE / f"{name}.requeue").touch()


if __name__ == "__main__":
    command, *rest = [Path(sys.argv[0]).name, *sys.argv[1:]]
    if rest[:1] == ["run"]:
        run(*rest[1:])
    else:
        globals()[command](*rest)
