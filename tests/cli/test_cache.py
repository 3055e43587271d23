"""``preceptor cache`` from the command line."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from preceptor.teachers.cache import open_readonly
from preceptor.teachers.cache.reader import ENTRIES_FILE
from tests.cli.conftest import SMALL, Command, Outcome
from tests.test_import_rules import loaded_after
from tests.training_helpers import digits

IMAGES = len(digits().train)
ENTRIES = IMAGES * 9
FEW = ("--train-images", "30", "--device", "cpu", "--precision", "fp32")


@pytest.fixture
def filled(preceptor: Command, teacher: Path, tmp_path: Path) -> tuple[Path, Outcome]:
    """The cache of a few images, and the output of filling it."""
    folder = tmp_path / "cache"
    done = preceptor("cache", folder, "--fill", "--teacher", teacher, *FEW)
    assert done.code == 0, done.err
    return folder, done


def only_json(done: Outcome) -> dict[str, Any]:
    assert (done.code, done.err) == (0, "")
    assert done.out.count("\n") == 1
    content: dict[str, Any] = json.loads(done.out)
    return content


def test_a_plan_shows_size_and_queries_and_writes_nothing(preceptor: Command, tmp_path: Path) -> None:
    done = preceptor("cache", tmp_path / "cache", "--plan", "--epochs", "5")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"{tmp_path / 'cache'}: 1,348 images in 9 views, all 10 logits\n")
    assert "339.7 kB, 28 bytes for each of 12,132 entries" in done.out
    expected = round(ENTRIES * (1 - (8 / 9) ** 5))
    assert f"{expected:,} images in a run of 5 epochs, in place of {5 * IMAGES:,}" in done.out
    assert list(tmp_path.iterdir()) == []


def test_a_plan_for_scripts(preceptor: Command, tmp_path: Path) -> None:
    plan = only_json(preceptor("cache", tmp_path / "cache", "--plan", "--top-k", "3", "--json"))
    assert (plan["samples"], plan["views"], plan["entries"], plan["top_k"]) == (IMAGES, 9, ENTRIES, 3)
    assert plan["bytes"] == plan["entries"] * plan["entry_bytes"]
    assert (plan["epochs"], plan["queries_ahead"], plan["queries_without_cache"]) == (20, ENTRIES, 20 * IMAGES)
    assert plan["filled"] == 0
    fewer = only_json(preceptor("cache", tmp_path / "cache", "--plan", "augment=false", "--json"))
    assert fewer["entries"] == IMAGES


def test_a_plan_from_numbers_alone(preceptor: Command, tmp_path: Path) -> None:
    numbers = ("--images", 1_281_167, "--classes", 1000, "--top-k", 20)
    done = preceptor("cache", tmp_path / "cache", "--plan", *numbers)
    assert (done.code, done.err) == (0, "")
    assert "1,281,167 images in 1 view, the 20 largest of 1,000 logits" in done.out
    assert "117.9 MB, 92 bytes for each of 1,281,167 entries" in done.out
    assert "1,281,167 images through the teacher" in done.out
    assert "time          unknown: give --images-per-second, or a --teacher" in done.out
    rate = ("--images-per-second", 2500, "--views", 10)
    done = preceptor("cache", tmp_path / "cache", "--plan", *numbers, *rate)
    assert "  time          85 minutes at 2,500 images/s (given)\n" in done.out
    plan = only_json(preceptor("cache", tmp_path / "cache", "--plan", *numbers, *rate, "--processes", 8, "--json"))
    assert (plan["queries_ahead"], plan["bytes"]) == (12_811_670, 12_811_670 * 92)
    assert (plan["seconds"], plan["processes"], plan["rate"]) == (12_811_670 / 20_000, 8, "given")
    together = preceptor("cache", tmp_path / "cache", "--plan", *numbers, *rate, "--processes", 8)
    assert "11 minutes at 2,500 images/s in each of 8 processes (given)" in together.out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("numbers", [(), ("--images", 10_000, "--classes", 1000, "--top-k", 20)])
def test_a_plan_with_a_teacher_measures_it(
    preceptor: Command, teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, numbers: tuple[object, ...]
) -> None:
    monkeypatch.setattr("preceptor.run.fill_cache.MEASURED_BATCHES", 3)
    plan = only_json(preceptor("cache", tmp_path / "cache", "--plan", "--teacher", teacher, *numbers, "--json"))
    assert plan["rate"] in {f"measured here on {n} images of digits, not compiled" for n in (256, 512, 768)}
    assert plan["seconds"] == pytest.approx(plan["queries_ahead"] / plan["images_per_second"])
    assert plan["images_per_second"] > 1
    assert list(tmp_path.iterdir()) == []


def test_it_fills_and_shows_the_state(filled: tuple[Path, Outcome], preceptor: Command, teacher: Path) -> None:
    folder, done = filled
    assert re.match(r"teacher: network \(.* batch norms folded, fp32\), queried about 270 images\n", done.out)
    assert "filled        270 of 12,132 entries (2.2%)" in done.out
    assert open_readonly(folder).count == 270
    info = preceptor("cache", folder, "--info")
    assert info.code == 0
    assert done.out.endswith(info.out)
    again = only_json(preceptor("cache", folder, "--fill", "--teacher", teacher, *FEW, "--json"))
    assert (again["queries"], again["filled"], again["entries"]) == (0, 270, ENTRIES)
    more = only_json(preceptor("cache", folder, "--fill", "--teacher", teacher, "--precision", "fp32", "--json"))
    assert (more["queries"], more["filled"]) == (ENTRIES - 270, ENTRIES)


def test_two_processes_of_torchrun_fill_what_one_fills(
    filled: tuple[Path, Outcome], teacher: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "together"
    verb = ["-m", "preceptor", "cache", str(folder), "--fill", "--teacher", str(teacher), *FEW, "--quiet"]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run([*launcher, *verb], capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    for name in ("entries.bin", "checksums.bin"):
        assert (folder / name).read_bytes() == (filled[0] / name).read_bytes()
    assert sorted(path.name for path in folder.glob(".part-*")) == [".part-0-of-2.lock", ".part-1-of-2.lock"]


def test_a_part_is_told_by_the_command_line_or_by_torchrun(
    preceptor: Command, teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill = ("cache", tmp_path / "cache", "--fill", "--teacher", teacher, *FEW)
    first = only_json(preceptor(*fill, "--part", "0/3", "--json"))
    assert first["part"] == "0/3"
    assert 0 < first["queries"] < 270
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    second = preceptor(*fill)
    assert second.out.startswith("part 1/2: teacher: network")
    monkeypatch.setenv("RANK", "0")
    last = only_json(preceptor(*fill, "--json"))
    assert (last["part"], last["filled"]) == ("0/2", 270)


def test_it_is_copied_to_a_url_and_looked_at_and_read_there(
    filled: tuple[Path, Outcome], preceptor: Command, teacher: Path, tmp_path: Path
) -> None:
    folder, url = filled[0], f"memory://{tmp_path.name}/digits"
    done = preceptor("cache", folder, "--copy", url)
    assert (done.code, done.out) == (
        0,
        f"{url}: a copy of {folder}; 270 of 12,132 records, all match their checksums\n",
    )
    here, there = (only_json(preceptor("cache", place, "--info", "--json")) for place in (folder, url))
    assert (there["filled"], there["key"]) == (270, here["key"])
    assert preceptor("cache", url, "--verify").out == f"{url}: 270 records match their checksums\n"
    back = only_json(preceptor("cache", url, "--copy", tmp_path / "back", "--json"))
    assert (back["copy"], back["filled"]) == (str(tmp_path / "back"), 270)
    filling = preceptor("cache", url, "--fill", "--teacher", teacher, *FEW)
    assert filling.code == 2
    assert (
        f"is at a URL: fill a cache in a local folder, and copy it by preceptor cache DIR --copy {url}" in filling.err
    )
    again = preceptor("cache", folder, "--copy", url)
    assert (again.code, again.err.count("\n")) == (2, 1)
    assert "holds a cache; nothing is ever overwritten: choose another URL" in again.err


def test_info_needs_nothing_but_the_cache(filled: tuple[Path, Outcome], preceptor: Command) -> None:
    folder, _ = filled
    info = only_json(preceptor("cache", folder, "--info", "--json"))
    assert (info["filled"], info["entries"]) == (270, ENTRIES)
    assert info["layout"]["samples"] == IMAGES
    assert info["key"]["precision"] == "fp32"
    assert 0 < info["bytes_used"] <= info["bytes_full"] + 4096


def flip_a_bit(folder: Path, sample: int, view: int) -> None:
    """Of a record."""
    with open_readonly(folder) as cache:
        place = (sample * 9 + view) * cache.layout.record.itemsize
    content = bytearray((folder / ENTRIES_FILE).read_bytes())
    content[place] ^= 1
    (folder / ENTRIES_FILE).write_bytes(content)


def test_verify_finds_what_is_damaged_and_repair_empties_it(
    filled: tuple[Path, Outcome], preceptor: Command, teacher: Path
) -> None:
    folder, _ = filled
    whole = preceptor("cache", folder, "--verify")
    assert (whole.code, whole.out) == (0, f"{folder}: 270 records match their checksums\n")
    cache = open_readonly(folder)
    sample = next(one for one in range(IMAGES) if cache.is_filled(torch.tensor([one]), torch.tensor([4])))
    flip_a_bit(folder, sample, 4)
    verified = preceptor("cache", folder, "--verify")
    assert (verified.code, verified.out) == (2, "")
    assert f"entries.bin: damaged: the record of sample {sample}, view 4" in verified.err
    assert "run preceptor cache --verify --repair" in verified.err
    repaired = preceptor("cache", folder, "--verify", "--repair")
    assert repaired.code == 0
    assert "269 records match their checksums\n  1 did not and are empty now" in repaired.out
    assert only_json(preceptor("cache", folder, "--verify", "--json"))["damaged"] == 0
    assert only_json(preceptor("cache", folder, "--fill", "--teacher", teacher, *FEW, "--json"))["queries"] == 1


def test_interrupted_it_tells_that_nothing_is_lost(
    preceptor: Command, teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from preceptor.run.progress import ImageBar

    def interrupt(bar: ImageBar, images: int) -> None:
        if images:
            raise KeyboardInterrupt

    folder = tmp_path / "cache"
    with monkeypatch.context() as patched:
        patched.setattr(ImageBar, "advance", interrupt)
        done = preceptor("cache", folder, "--fill", "--teacher", teacher, *FEW)
    assert done.code == 130
    kept = open_readonly(folder).count
    assert kept > 0
    assert f"{folder}: stopped with {kept} entries filled; the same command goes on from there" in done.err
    again = only_json(preceptor("cache", folder, "--fill", "--teacher", teacher, *FEW, "--json"))
    assert again["queries"] == 270 - kept


def test_quiet_prints_nothing(preceptor: Command, teacher: Path, tmp_path: Path) -> None:
    done = preceptor("cache", tmp_path / "cache", "--fill", "--teacher", teacher, *FEW, "--quiet")
    assert (done.code, done.out, done.err) == (0, "", "")


def test_distill_fills_a_cache_and_then_needs_no_teacher(preceptor: Command, teacher: Path, tmp_path: Path) -> None:
    cache, small = tmp_path / "cache", ("--recipe", "kd", *SMALL)
    first = preceptor("distill", "--teacher", teacher, "--cache", cache, *small, "--out", tmp_path / "first")
    assert re.search(rf"^cache {cache}: the teacher was queried on \d+ images, the rest came", first.out, re.MULTILINE)
    alone = preceptor("distill", "--cache", cache, *small, "--out", tmp_path / "alone")
    assert f"cache {cache}: held every output; the teacher was not queried\n" in alone.out
    students = [(tmp_path / name / "student.safetensors").read_bytes() for name in ("first", "alone")]
    assert students[0] == students[1]


def test_several_teachers_and_their_flags_reach_the_run(preceptor: Command, teacher: Path, tmp_path: Path) -> None:
    import yaml

    out = tmp_path / "student"
    both = ("--teacher", teacher, "--teacher", teacher, "--ensemble-mean", "logits")
    cache = ("--cache", tmp_path / "cache", "--cache-top-k", "5", "--compile", "never", "--precision", "bf16")
    done = preceptor("distill", *both, *cache, *SMALL, "--recipe", "kd", "--out", out, "ensemble_weights=[2, 1]")
    assert done.code == 0, done.err
    config = yaml.safe_load((out / "run.yaml").read_text())["config"]
    assert config["teacher"] == [str(teacher)] * 2
    assert (config["ensemble_mean"], config["ensemble_weights"]) == ("logits", [2.0, 1.0])
    assert (config["cache"], config["cache_top_k"]) == (str(tmp_path / "cache"), 5)
    assert (config["compile"], config["precision"]) == ("never", "bf16")
    assert open_readonly(tmp_path / "cache").metadata.key.precision == "bf16"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "one of the arguments --plan --fill --info --verify --copy is required"),
        (("--copy", "elsewhere"), "elsewhere: expected one folder and one URL, such as s3://bucket/folder"),
        (("--copy", "memory://x"), "cache.json: no such file: give the folder of a cache"),
        (("--plan", "--fill"), "not allowed with argument --plan"),
        (("--info", "--repair"), "--repair: goes with --verify"),
        (("--info", "--part", "0/2"), "--part: goes with --fill"),
        (("--fill", "--part", "2/2", "--teacher", "gone"), "part '2/2': expected I/N with I from 0 to N - 1, such as"),
        (("--info",), "cache.json: no such file: give the folder of a cache"),
        (("--verify",), "cache.json: no such file: give the folder of a cache"),
        (("--fill",), "no teacher to fill the cache from: give --teacher RUN_FOLDER"),
        (("--fill", "--teacher", "gone"), "gone: no such folder"),
        (("--plan", "--images", "9"), "--images and --classes: give both"),
        (("--plan", "--views", "9"), "--images and --classes: give both"),
        (("--plan", "--images", "0", "--classes", "9"), "--images 0: goes with --plan, and is a number above 0"),
        (("--info", "--images-per-second", "9"), "--images-per-second 9.0: goes with --plan"),
        (("--plan", "--images", "9", "--classes", "3", "--top-k", "3"), "top_k = 3 of 3 classes: give fewer"),
        (("--plan", "--images", "9", "--classes", "3", "--views", "-1"), "the plan: views is -1"),
        (("--plan", "--top-k", "10"), "top_k = 10 of 10 classes: give fewer"),
        (("--plan", "--top-k", "0"), "cache_top_k"),
        (("--plan", "--data", "digts"), "unknown data set 'digts': did you mean 'digits'"),
        (("--plan", "agument=false"), "'agument': did you mean augment?"),
        (("--plan", "--precision", "fp8"), "precision"),
    ],
    ids=lambda value: " ".join(value) or "nothing" if isinstance(value, tuple) else None,
)
def test_bad_input_is_one_line(preceptor: Command, tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    done = preceptor("cache", tmp_path / "cache", *arguments)
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert done.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_info_loads_neither_scipy_nor_scikit_learn(filled: tuple[Path, Outcome]) -> None:
    folder, _ = filled
    heavy = {"scipy", "sklearn", "vl_convert", "PIL", "onnxruntime"}
    code = f"from preceptor.cli.main import main; main(['cache', {str(folder)!r}, '--info', '--quiet'])"
    assert loaded_after(code) & heavy == set()


def test_help_loads_nothing_but_the_standard_library() -> None:
    """Of what is not our own: a verb that imports its work at the top would show here."""
    help_ = "from preceptor.cli.main import main\ntry: main([{}'--help'])\nexcept SystemExit: pass"
    silent = "import contextlib, io\nwith contextlib.redirect_stdout(io.StringIO()):\n exec({!r})"
    bare = loaded_after("import argparse")
    for verb in ("", "'cache', ", "'distill', ", "'select', "):
        assert loaded_after(silent.format(help_.format(verb))) - bare <= {"preceptor", *sys.stdlib_module_names}
