import torch

from preceptor.speed import machine
from preceptor.speed.machine import Machine, this_machine
from tests.speed.tiny import CPU
from tests.speed.tiny import machine as example

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
    found = this_machine(CPU)
    assert found.cpu == "An Example 3000 @ 2 GHz"
    assert found.flags == ("avx2", "avx512f", "avx512_bf16")
    assert (found.device, found.gpu, found.threads) == ("cpu", None, torch.get_num_threads())
    assert found.versions["torch"] == torch.__version__
    assert Machine.model_validate_json(found.model_dump_json()) == found


def test_where_linux_does_not_tell_it_says_what_python_knows(monkeypatch, tmp_path):
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


def test_in_words():
    assert str(example()) == "An Example 3000 with avx2, 2 cores, 2 threads; units for bf16; torch 2.13.0"
    gpu = example(device="cuda", gpu="An Example GPU", lacks_bf16="this GPU has no units for bf16", flags=())
    assert str(gpu) == (
        "An Example GPU, An Example 3000, 2 cores, 2 threads; this GPU has no units for bf16; torch 2.13.0"
    )
