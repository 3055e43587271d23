import subprocess
import sys
import time

import torch

from experiments.speed import machine
from experiments.speed.machine import Machine, peak_bytes, seconds_for, this_machine
from tests.experiments.speed.tiny import CPU
from tests.experiments.speed.tiny import machine as example

CPU_INFO = """processor\t: 0
model name\t: An Example 3000 @ 2 GHz
flags\t\t: fpu avx2 avx512f avx512_bf16 ht

processor\t: 1
model name\t: Another
flags\t\t: amx_tile
"""


def test_it_names_cpu_flags_versions_and_threads(monkeypatch, tmp_path):
    info = tmp_path / "cpuinfo"
    info.write_text(CPU_INFO)
    monkeypatch.setattr(machine, "_CPU_INFO", info)
    this = this_machine(CPU)
    assert this.cpu == "An Example 3000 @ 2 GHz"
    assert this.flags == ("avx2", "avx512f", "avx512_bf16")
    assert (this.device, this.gpu, this.threads) == ("cpu", None, torch.get_num_threads())
    assert this.versions["torch"] == torch.__version__
    assert Machine.model_validate_json(this.model_dump_json()) == this
    monkeypatch.setattr(machine, "_CPU_INFO", tmp_path / "none")
    assert this_machine(CPU).cpu
    assert this_machine(CPU).flags == ()


def test_settings_that_change_the_speed_are_kept_without_the_folders_of_files(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.setenv("LD_PRELOAD", "/home/someone/lib/libtcmalloc.so.4")
    monkeypatch.setenv("SECRET", "x")
    settings = this_machine(CPU).settings
    assert settings["OMP_NUM_THREADS"] == "2"
    assert settings["LD_PRELOAD"] == "libtcmalloc.so.4"
    assert "SECRET" not in settings


def test_as_text():
    assert str(example()) == "An Example 3000 with avx2, 2 cores, 2 threads; units for bf16; torch 2.13.0"
    gpu = example(device="cuda", gpu="An Example GPU", lacks_bf16="this GPU has no units for bf16", flags=())
    assert str(gpu) == (
        "An Example GPU, An Example 3000, 2 cores, 2 threads; this GPU has no units for bf16; torch 2.13.0"
    )


def test_the_work_is_done_and_its_seconds_returned(monkeypatch):
    now, done = [10.0], []
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def work() -> None:
        now[0] += 2.5
        done.append(True)

    assert seconds_for(work, CPU) == 2.5
    assert done == [True]


GROW = """
import torch
from experiments.speed.machine import peak_bytes
before = peak_bytes(torch.device("cpu"))
torch.ones(50 * 2**20 // 4)
print(peak_bytes(torch.device("cpu")) - before)
"""


def test_memory_held_for_a_moment_counts(monkeypatch, tmp_path):
    done = subprocess.run([sys.executable, "-c", GROW], capture_output=True, text=True, check=True)
    assert 45 * 2**20 < int(done.stdout) < 80 * 2**20
    peak = peak_bytes(CPU)
    monkeypatch.setattr(machine, "_STATUS", tmp_path / "none")
    assert peak_bytes(CPU) > 0.5 * peak
