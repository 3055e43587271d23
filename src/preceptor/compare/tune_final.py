"""The best settings and the defaults, trained with new seeds and compared on images that nothing was chosen by."""

import shutil
from typing import Any

from preceptor.compare.comparison import RUNS, Comparison, comparison
from preceptor.compare.comparison_result import ComparisonResult
from preceptor.compare.launchers import Launcher
from preceptor.compare.run_comparison import PLAN_FILE, run_comparison
from preceptor.compare.tune_result import FinalResult
from preceptor.compare.tune_trials import Search, TuneProgress
from preceptor.config import read_yaml
from preceptor.run.config import RunConfig

FINAL = "final"
"""The folder of the final comparison, in that of the study."""

TUNED, DEFAULT = "tuned", "default"
"""The recipes of the final comparison."""


def compare_with_defaults(
    search: Search, tuned: RunConfig, launcher: Launcher, progress: TuneProgress | None
) -> FinalResult:
    """The final comparison; runs of settings that are no longer the best make room for others."""
    plan, folder = _final_plan(search, tuned), search.out / FINAL
    if (folder / PLAN_FILE).is_file():
        before = read_yaml(folder / PLAN_FILE).get("recipes")
        if before != plan.model_dump(mode="json")["recipes"]:
            shutil.rmtree(folder / RUNS / TUNED, ignore_errors=True)
    options = search.options
    result = run_comparison(
        plan,
        folder,
        jobs=options.jobs,
        launcher=launcher,
        checkpoint_seconds=options.checkpoint_seconds,
        force=True,
        progress=progress,
    )
    return _final_result(result, plan)


def _final_plan(search: Search, tuned: RunConfig) -> Comparison:
    """Both, with seeds after that of the trials; the defaults alone where they are the best."""
    config = search.config
    base = config.model_dump(mode="json", exclude_none=True, exclude={"recipe", "seed", "teacher"})
    recipes: dict[str, dict[str, Any]] = {}
    if tuned != config:
        chosen = tuned.model_dump(mode="json")
        parts = dict.fromkeys(["recipe", *(key.partition(".")[0] for key in search.space)])
        recipes[TUNED] = {part: chosen[part] for part in parts}
    recipes[DEFAULT] = {"recipe": config.recipe.model_dump(mode="json", exclude_none=True)}
    return comparison(
        recipes,
        run=base,
        teachers={"teacher": config.teacher} if config.teachers else {},
        seeds=range(config.seed + 1, config.seed + 1 + search.options.final_seeds),
        baseline=DEFAULT,
    )


def _final_result(result: ComparisonResult, plan: Comparison) -> FinalResult:
    arms = {arm.recipe: arm for arm in result.arms}
    tuned, default = arms.get(TUNED if TUNED in plan.recipes else DEFAULT), arms.get(DEFAULT)
    return FinalResult(
        measured_on=result.measured_on,
        samples=result.samples,
        seeds=list(plan.seeds),
        tuned=None if tuned is None else tuned.accuracy,
        default=None if default is None else default.accuracy,
        difference=None if tuned is None else tuned.difference,
        folder=FINAL,
    )
