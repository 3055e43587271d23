"""Run a study again, and write its result file.

python -m experiments.studies                                # what there is
python -m experiments.studies correlation --out results
"""

import argparse
from pathlib import Path

from experiments.studies import STUDIES
from experiments.studies.engine import run_study, save_result
from experiments.studies.engine.table import markdown
from preceptor.files import check_writable
from preceptor.run.progress import ImageBar


def main() -> None:
    """Run one study, or list all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="?", choices=STUDIES, metavar="NAME", help="of a study; without, a list")
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder of the result file (default results)")
    parser.add_argument("--seeds", type=int, help="how many seeds (default: the study's own)")
    parser.add_argument("--data-root", type=Path, help="folder of named data sets (default $PRECEPTOR_DATA)")
    parser.add_argument("--device", default="auto", help="auto (default), cpu or cuda")
    arguments = parser.parse_args()
    if arguments.name is None:
        print("\n".join(f"{name:<32}{study.title}" for name, study in STUDIES.items()))
        return
    if arguments.seeds is not None and arguments.seeds < 1:
        parser.error(f"--seeds {arguments.seeds}: at least 1, and 3 or more for intervals")
    check_writable(arguments.out)
    study = STUDIES[arguments.name].model_copy(update={"data_root": arguments.data_root})
    if arguments.seeds is not None:
        study = study.model_copy(update={"seeds": tuple(range(arguments.seeds))})
    print(study.setting)
    with ImageBar() as bar:
        result = run_study(study, progress=bar, device=arguments.device)
    save_result(result, arguments.out / f"{study.name}.json")
    print(f"{markdown(result)}\n\nWhat this shows: {result.shows}\nWhat it does not show: {result.does_not_show}")


if __name__ == "__main__":
    main()
