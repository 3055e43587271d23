"""Checks against a real local S3 server (moto), run by ``test_s3.py`` in an environment that has one."""

import os
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
import torch
from moto.server import ThreadedMotoServer
from werkzeug.serving import WSGIRequestHandler

from preceptor.cli.main import main
from preceptor.errors import InputError, MachineError
from preceptor.teachers.cache import Layout, blocks, copy, fill, open_readonly, remote, verify
from tests.teachers.cache.samples import VIEWS, Linear, cache_in, pictures

URL = "s3://preceptor/caches/many"
MANY = Layout(samples=3000, views=9, classes=20)

requests: list[tuple[str, str, str | None]] = []
"""Method, path and range of what was asked for."""
cuts: list[int] = []
"""One for each answer that is to be cut off."""


answer = WSGIRequestHandler.run_wsgi


def noted_or_cut(handler: WSGIRequestHandler) -> None:
    """Write a request down, and answer it or cut the answer off."""
    requests.append((handler.command, handler.path, handler.headers.get("Range")))
    if cuts and handler.headers.get("Range"):
        cuts.pop()
        handler.wfile.write(b"HTTP/1.1 206 Partial Content\r\nContent-Length: 65536\r\n\r\nhalf of")
        handler.close_connection = True
    else:
        answer(handler)


@pytest.fixture(scope="module", autouse=True)
def server() -> Iterator[ThreadedMotoServer]:
    """With a bucket; nothing outside this machine is asked."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(WSGIRequestHandler, "run_wsgi", noted_or_cut)
        server.start()
        host, port = server.get_host_and_port()
        settings = {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_MAX_ATTEMPTS": "1",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        for name, value in {**settings, "AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any"}.items():
            patched.setenv(name, value)
        patched.setattr(remote, "SECONDS_BEFORE_RETRY", 0.0)
        boto3.client("s3").create_bucket(Bucket="preceptor")
        yield server
        server.stop()


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache in a folder, copied to the server."""
    folder = tmp_path_factory.mktemp("cache") / "cache"
    with cache_in(folder, Linear(20), MANY, batch_size=512) as cache:
        fill(cache, pictures(3000), VIEWS)
    copy(folder, URL).close()
    return folder


def same(first: Path | str, second: Path | str) -> bool:
    entries = torch.randperm(MANY.entries, generator=torch.Generator().manual_seed(1))[:700]
    rows = [open_readonly(place).lookup(entries // 9, entries % 9).logits for place in (first, second)]
    return torch.equal(rows[0], rows[1])


def test_a_copy_reads_as_the_folder_does_and_comes_back_as_it_was(local: Path, tmp_path: Path) -> None:
    assert same(local, URL)
    assert verify(open_readonly(URL)) == 0
    copy(URL, tmp_path / "back").close()
    for name in ("entries.bin", "checksums.bin", "cache.json"):
        assert (tmp_path / "back" / name).read_bytes() == (local / name).read_bytes()


def test_it_asks_for_ranges(local: Path) -> None:
    cache = open_readonly(URL)
    requests.clear()
    cache.lookup(torch.tensor([0, 2999]), torch.tensor([0, 8]))
    asked = [(path.partition("?")[0], part) for method, path, part in requests if method == "GET"]
    size = MANY.entries * MANY.record.itemsize
    last = (size - 1) // blocks.BLOCK * blocks.BLOCK
    path = "/preceptor/caches/many/entries.bin"
    assert sorted(asked) == sorted([(path, f"bytes=0-{blocks.BLOCK - 1}"), (path, f"bytes={last}-{size - 1}")])
    requests.clear()
    cache.lookup(torch.tensor([2999, 0]), torch.tensor([8, 1]))
    assert requests == []


def test_answers_cut_off_are_asked_for_again(local: Path) -> None:
    cache = open_readonly(URL)
    cuts.extend([1, 1])
    assert cache.lookup(torch.tensor([5]), torch.tensor([5])).known.all()
    assert cuts == []
    here = open_readonly(local).lookup(torch.tensor([5]), torch.tensor([5]))
    assert torch.equal(cache.lookup(torch.tensor([5]), torch.tensor([5])).logits, here.logits)


def test_a_connection_that_stays_cut_is_an_error_of_the_machine(local: Path) -> None:
    cache = open_readonly(URL)
    cuts.extend([1] * 1000)
    with pytest.raises(MachineError, match=r"entries.bin: could not be read, tried 4 times: .*: look after the connec"):
        cache.lookup(torch.tensor([7]), torch.tensor([5]))
    cuts.clear()
    assert cache.lookup(torch.tensor([7]), torch.tensor([5])).known.all()


def test_no_such_bucket_and_no_such_folder(local: Path) -> None:
    for url in ("s3://no-such-bucket/cache", "s3://preceptor/elsewhere"):
        with pytest.raises(
            InputError, match=r"cache.json: no such file .*: give the URL of a folder that preceptor cache"
        ):
            open_readonly(url)
    with pytest.raises(InputError, match=r"s3://no-such-bucket/cache: cannot be written: .*bucket.*: make it first"):
        copy(local, "s3://no-such-bucket/cache")


def test_a_run_from_there_ends_in_the_bits_of_one_from_the_folder(tmp_path: Path) -> None:
    few = ["--train-images", "60", "--epochs", "2", "--batch-size", "32", "--device", "cpu", "--quiet"]
    teacher, cache, url = tmp_path / "teacher", tmp_path / "cache", "s3://preceptor/digits"
    assert main(["train", "--model", "convnet4", *few, "--seed", "1", "--out", str(teacher)]) == 0
    filling = ["--fill", "--teacher", str(teacher), "--train-images", "60", "--device", "cpu", "--quiet"]
    assert main(["cache", str(cache), *filling]) == 0
    assert main(["cache", str(cache), "--copy", url, "--quiet"]) == 0
    for name, place in (("here", str(cache)), ("there", url)):
        assert (
            main(["distill", "--cache", place, "--recipe", "kd", "--force", *few, "--out", str(tmp_path / name)]) == 0
        )
    weights = [(tmp_path / name / "student.safetensors").read_bytes() for name in ("here", "there")]
    assert weights[0] == weights[1]
    assert f"cache: {url}" in (tmp_path / "there" / "run.yaml").read_text()
    assert os.environ["AWS_ENDPOINT_URL"].startswith("http://127.0.0.1:")
