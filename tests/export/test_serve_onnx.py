"""The example in ``examples/serve_onnx``: its parts here, and the whole of it where nothing else is installed."""

import importlib.util
import io
import json
import os
import re
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from preceptor.data.images import ImageSpec, read_header, read_pixels
from preceptor.errors import InputError
from preceptor.export import put_in_place
from tests.training_helpers import digits

pytest.importorskip("onnxruntime", reason="needs onnxruntime (extra onnx)")

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "serve_onnx"


@pytest.fixture(scope="module")
def serve():
    spec = importlib.util.spec_from_file_location("serve", EXAMPLE / "serve.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def model(deployment, tmp_path_factory):
    folder = tmp_path_factory.mktemp("deployed")
    put_in_place(folder, [deployment.exports["onnx"]])
    return folder / "student.onnx"


@pytest.fixture(scope="module")
def student(serve, model):
    return serve.Student(model)


def encoded(number: int = 0, kind: str = "PNG") -> bytes:
    """A test image of the digits in a file."""
    with io.BytesIO() as file:
        Image.fromarray(digits().test.images[number, 0].numpy()).save(file, kind)
        return file.getvalue()


def as_told(deployment, number: int) -> dict:
    """What the exported file says of a test image."""
    reply = deployment.exports["onnx"].run(digits().test.images[number : number + 1])
    label = int(reply.label[0])
    return {
        "label": label,
        "class": deployment.card.class_names[label],
        "probability": pytest.approx(float(reply.probabilities[0, label])),
        "score": pytest.approx(float(reply.score[0])),
        "answered": bool(reply.answered[0]),
    }


def test_it_answers_and_abstains_as_the_student(deployment, student):
    found = [student.answer(encoded(number)) for number in range(40)]
    assert found == [as_told(deployment, number) for number in range(40)]
    assert {answer["answered"] for answer in found} == {True, False}


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    with io.BytesIO() as file:
        image.save(file, kind, **options)
        return file.getvalue()


def palette_with_transparency() -> bytes:
    return saved(Image.new("P", (9, 9), 2), "PNG", transparency=bytes([0, 255, 128]))


def colorful(kind: str, mode: str = "RGB", **options: object) -> bytes:
    return saved(Image.effect_noise((37, 23), 90).convert(mode), kind, **options)


def half_transparent() -> bytes:
    noise = Image.effect_noise((37, 23), 90).convert("RGBA")
    noise.putalpha(Image.linear_gradient("L").resize((37, 23)))
    return saved(noise, "PNG")


def turned(orientation: int, kind: str) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return colorful(kind, exif=exif)


@pytest.mark.parametrize(
    "content",
    [
        colorful("JPEG"),
        colorful("PNG"),
        colorful("BMP", "L"),
        colorful("TIFF", "CMYK"),
        palette_with_transparency(),
        half_transparent(),
        *(turned(orientation, kind) for orientation in (1, 3, 6) for kind in ("JPEG", "PNG", "TIFF")),
    ],
    ids=lambda content: content[:3].hex(),
)
def test_images_are_read_as_those_of_a_folder_are_for_training(student, content, tmp_path):
    (tmp_path / "image").write_bytes(content)
    read_header(tmp_path / "image")
    assert student._pixels(content).tolist() == read_pixels(tmp_path / "image", ImageSpec(1, 8, 8)).tolist()


@pytest.mark.parametrize("spec", [ImageSpec(1, 8, 8, 0.6, "bilinear"), ImageSpec(1, 8, 8, 0.875, exif=False)], ids=str)
def test_crop_interpolation_and_exif_are_those_of_the_card(student, monkeypatch, spec, tmp_path):
    """Also of photographs so large that they are decoded at a part of their size."""
    reading = {"crop": spec.crop, "interpolation": spec.interpolation, "exif": spec.exif}
    monkeypatch.setattr(student, "_reading", reading)
    small = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    for size in ((40, 30), (640, 410)):
        content = saved(small.resize(size, Image.Resampling.BICUBIC), "JPEG", exif=exif)
        (tmp_path / "image").write_bytes(content)
        assert student._pixels(content).tolist() == read_pixels(tmp_path / "image", spec).tolist()


def test_the_file_holds_how_images_are_read(deployment, model, serve):
    card = deployment.card
    assert serve.Student(model)._reading == {"crop": card.crop, "interpolation": card.interpolation, "exif": card.exif}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (saved(Image.fromarray(np.full((9, 9), 1000, np.uint16)), "PNG"), "pixels of type 'I;16'"),
        (saved(Image.fromarray(np.ones((9, 9), np.float32)), "TIFF"), "pixels of type 'F'"),
        (saved(Image.new("L", (9, 9)), "GIF", save_all=True, append_images=[Image.new("L", (9, 9), 9)]), "2 pictures"),
    ],
    ids=["16-bit gray", "floating point", "animation"],
)
def test_what_training_refuses_serving_refuses(serve, student, content, message, tmp_path):
    (tmp_path / "image").write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_header(tmp_path / "image")
    with pytest.raises(serve.BadImage, match=message):
        student.answer(content)


def bomb() -> bytes:
    """A few bytes that say they are a picture of 100,000 x 100,000."""
    start = encoded()
    return start[:16] + (100_000).to_bytes(4, "big") * 2 + start[24:]


@pytest.mark.parametrize(
    "content",
    [b"", b"not an image", encoded()[:60], encoded(kind="JPEG")[:200], bomb(), b"%!PS-Adobe-3.0 EPSF-3.0\n"],
    ids=["empty", "text", "cut off", "cut jpeg", "bomb", "postscript"],
)
def test_what_is_no_image_is_refused(serve, student, content):
    with pytest.raises(serve.BadImage):
        student.answer(content)


def test_many_pixels_are_not_decoded(serve, student, monkeypatch):
    monkeypatch.setattr(serve, "MOST_PIXELS", 63)
    with pytest.raises(serve.BadImage, match="8 x 8 pixels, at most 63"):
        student.answer(encoded())


@contextmanager
def served(serve, student):
    handler = type("Quiet", (serve.Handler,), {"student": student, "log_message": lambda *_: None})
    with serve.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield HTTPConnection("127.0.0.1", server.server_port, timeout=20)
        finally:
            server.shutdown()
            thread.join()


def request(connection: HTTPConnection, body: bytes | None, headers: dict | None = None, method: str = "POST"):
    connection.request(method, "/", body, headers or {})
    response = connection.getresponse()
    return response.status, json.loads(response.read())


def test_over_http(deployment, serve, student):
    with served(serve, student) as connection:
        assert request(connection, encoded(3)) == (200, as_told(deployment, 3))
        status, answer = request(connection, b"no image")
        assert (status, list(answer)) == (400, ["error"])
        assert request(connection, encoded(4)) == (200, as_told(deployment, 4))  # on the same connection
        status, answer = request(connection, None, method="GET")
        assert (status, answer["class_names"]) == (200, list(deployment.card.class_names))
        connection.close()


@pytest.mark.parametrize(
    ("length", "status"), [("20971521", 413), ("9" * 5000, 413), ("-1", 411), ("ten", 411), (None, 411)]
)
def test_a_body_of_no_or_too_great_length_is_not_read(serve, student, length, status):
    with served(serve, student) as connection:
        connection.putrequest("POST", "/")
        if length is not None:
            connection.putheader("Content-Length", length)
        connection.endheaders()
        response = connection.getresponse()
        assert (response.status, list(json.loads(response.read()))) == (status, ["error"])
        connection.close()


def test_files_a_line_each(deployment, serve, student, tmp_path, capsys):
    (tmp_path / "good.png").write_bytes(encoded(7))
    (tmp_path / "bad.png").write_bytes(b"no image")
    paths = [tmp_path / "bad.png", tmp_path / "gone.png", tmp_path / "good.png"]
    assert serve.answer_files(student, paths) == 1
    bad, gone, good = map(json.loads, capsys.readouterr().out.splitlines())
    assert [row["file"] for row in (bad, gone, good)] == [str(path) for path in paths]
    assert set(bad) == set(gone) == {"file", "error"}
    assert {key: value for key, value in good.items() if key != "file"} == as_told(deployment, 7)
    assert serve.answer_files(student, paths[2:]) == 0


def test_another_file_is_no_student(serve, tmp_path, capsys, monkeypatch):
    (tmp_path / "other.onnx").write_bytes(b"something else")
    monkeypatch.setattr(sys, "argv", ["serve.py", str(tmp_path / "other.onnx")])
    assert serve.main() == 2
    assert "other.onnx: not a student that preceptor export wrote" in capsys.readouterr().err


def test_its_requirements_are_tested_versions():
    tested = (ROOT / "constraints.txt").read_text().splitlines()
    wanted = (EXAMPLE / "requirements.txt").read_text().splitlines()
    assert set(wanted) <= set(tested)
    assert [line.partition("==")[0] for line in wanted] == ["numpy", "onnxruntime", "pillow"]


def without_ours() -> dict[str, str]:
    """The environment without what would lend a clean one our packages."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}


def pip(python: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-compile", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=without_ours())


@pytest.fixture
def clean_python(tmp_path) -> Path:
    """A Python with the example's requirements and nothing else; skipped where there is no package index."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "clean"], check=True)
    python = tmp_path / "clean" / ("Scripts" if os.name == "nt" else "bin") / "python"
    done = pip(python, "-c", str(ROOT / "constraints.txt"), "-r", str(EXAMPLE / "requirements.txt"))
    if done.returncode and pip(python, "--dry-run", "--no-deps", "--ignore-installed", "iniconfig").returncode:
        pytest.skip("no package index to install from")
    assert done.returncode == 0, done.stderr
    return python


@contextmanager
def running(python: Path, model: Path):
    """The example as a process; its address."""
    command = [python, EXAMPLE / "serve.py", model, "--port", "0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=without_ours()
    ) as process:
        try:
            address = re.fullmatch(r"serving on http://(127\.0\.0\.1):(\d+)/\n", process.stdout.readline())
            yield HTTPConnection(address[1], int(address[2]), timeout=30), process
        finally:
            process.terminate()


def test_in_a_clean_environment_an_image_is_answered_and_a_corrupt_one_refused(deployment, model, clean_python):
    """All in one test, for the environment takes a while to make."""
    for name in ("torch", "preceptor", "scipy"):
        found = subprocess.run(
            [clean_python, "-c", f"import {name}"], capture_output=True, check=False, env=without_ours()
        )
        assert b"ModuleNotFoundError" in found.stderr
    with running(clean_python, model) as (connection, process):
        assert request(connection, encoded(1)) == (200, as_told(deployment, 1))
        status, answer = request(connection, encoded()[:60])
        assert (status, list(answer)) == (400, ["error"])
        assert request(connection, encoded(2)) == (200, as_told(deployment, 2))
        assert process.poll() is None
        connection.close()
