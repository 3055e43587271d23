"""Without --download nothing is asked of the network."""

import subprocess
import sys
from pathlib import Path

GUARDED = """
import socket, sys

asked = []

def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.bind", "socket.sendto"):
        asked.append((event, str(arguments)))
        raise AssertionError(f"the network was asked: {event} {arguments}")

sys.addaudithook(refuse)
from preceptor.cli.main import main

small = ["--train-images", "60", "--epochs", "1", "--batch-size", "32", "--device", "cpu", "--quiet"]
out = sys.argv[1]
codes = [
    main(["train", "--model", "convnet4", *small, "--out", f"{out}/teacher"]),
    main(["distill", "--teacher", f"{out}/teacher", "--cache", f"{out}/cache", *small, "--force", "--out",
          f"{out}/student"]),
    main(["evaluate", f"{out}/student", "--quiet"]),
    main(["train", "--data", "cifar10", "--data-root", out, *small, "--out", f"{out}/none"]),
]
assert not asked, asked
try:
    socket.create_connection(("127.0.0.1", 9))
except AssertionError:
    codes.append("guarded")
print(codes)
"""


def test_a_run_from_teacher_to_measurement_asks_nothing_of_the_network(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", GUARDED, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1:] == ["[0, 0, 0, 2, 'guarded']"], done.stdout + done.stderr
    assert "fetch it with --download" in done.stderr
