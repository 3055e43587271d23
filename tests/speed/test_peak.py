import subprocess
import sys

from preceptor.speed import peak
from preceptor.speed.peak import peak_bytes
from tests.speed.tiny import CPU

GROW = """
import torch
from preceptor.speed.peak import peak_bytes
before = peak_bytes(torch.device("cpu"))
torch.ones(50 * 2**20 // 4)
print(peak_bytes(torch.device("cpu")) - before)
"""


def test_what_was_held_for_a_moment_counts():
    done = subprocess.run([sys.executable, "-c", GROW], capture_output=True, text=True, check=True)
    assert 45 * 2**20 < int(done.stdout) < 80 * 2**20


def test_where_the_system_tells_it_otherwise_it_is_much_the_same(monkeypatch, tmp_path):
    told = peak_bytes(CPU)
    monkeypatch.setattr(peak, "_STATUS", tmp_path / "none")
    assert peak_bytes(CPU) > 0.5 * told
