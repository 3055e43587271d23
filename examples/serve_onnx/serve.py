"""Serves a student that ``preceptor export`` wrote as ONNX, with nothing but ONNX Runtime, NumPy and Pillow.

Usage:
    python serve.py student.onnx --port 8000     # then: curl --data-binary @image.png http://127.0.0.1:8000/
    python serve.py student.onnx IMAGE ...       # one line of JSON for each image
"""

import argparse
import io
import json
import sys
import threading
import warnings
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from PIL import Image, ImageOps, UnidentifiedImageError

MOST_BYTES = 20 * 2**20
"""Of an encoded image."""

MOST_PIXELS = 2**26
"""Of a decoded one: a small file with more is more likely made to fill the memory than a photograph."""

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""What Pillow decodes itself, without starting another program."""

MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB")
"""Pixels with one meaning in 8 bits a channel. 16-bit gray, for one, has no common scale."""

BACKGROUND = "white"
"""What transparent pixels are composed on, as in training."""

ORIENTATION = 0x0112
"""The EXIF tag of how a camera was held."""

AT_A_TIME = 4
"""Images decoded and answered side by side; further requests wait."""

SECONDS_TO_SEND = 30


class BadImage(Exception):
    """An image that cannot be answered, and why."""


class Student:
    """An exported student.

    Args:
        path: of the ONNX file.
    """

    def __init__(self, path: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        metadata = self._session.get_modelmeta().custom_metadata_map
        self.class_names: list[str] = json.loads(metadata["class_names"])
        self._reading: dict[str, Any] = json.loads(metadata["reading"])
        _, self._channels, self._height, self._width = self._session.get_inputs()[0].shape

    def answer(self, encoded: bytes) -> dict[str, object]:
        """Label, class name, probability and score of an image, and whether the student answers or abstains.

        Raises:
            BadImage: it cannot be decoded, is too large, or is one that training would refuse.
        """
        outputs = self._session.run(
            ["label", "probabilities", "score", "answered"], {"images": self._pixels(encoded)[np.newaxis]}
        )
        label, probabilities, score, answered = (output[0] for output in outputs)
        return {
            "label": int(label),
            "class": self.class_names[int(label)],
            "probability": float(probabilities[label]),
            "score": float(score),
            "answered": bool(answered),
        }

    def _pixels(self, encoded: bytes) -> np.ndarray:
        """[channels, height, width] in uint8, by the rules of ``preceptor.data.images``: as in training."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about damaged tags
                with Image.open(io.BytesIO(encoded), formats=FORMATS) as opened:
                    if opened.width * opened.height > MOST_PIXELS:
                        raise BadImage(f"{opened.width} x {opened.height} pixels, at most {MOST_PIXELS:,} are decoded")
                    if opened.mode not in MODES:
                        raise BadImage(f"pixels of type {opened.mode!r}; expected 8 bits a channel; convert it")
                    frames = 1 if opened.format == "MPO" else getattr(opened, "n_frames", 1)
                    if frames > 1:
                        raise BadImage(f"{frames} pictures in one file; expected one; send the one you mean")
                    turned = orientation(opened) if self._reading["exif"] else 1
                    self._decode_reduced(opened, turned)
                    image = ImageOps.exif_transpose(opened) if turned != 1 else opened
                    if image.has_transparency_data:
                        image = image.convert("RGBA")
                        image = Image.alpha_composite(Image.new("RGBA", image.size, BACKGROUND), image)
                    image = image.convert("L" if self._channels == 1 else "RGB")
                    method = getattr(Image.Resampling, self._reading["interpolation"].upper())
                    image = image.resize((self._width, self._height), method, box=self._center(*image.size))
        except BadImage:
            raise
        except UnidentifiedImageError as error:
            raise BadImage(f"not an image that can be read; convert it to one of {', '.join(FORMATS)}") from error
        except Exception as error:  # a damaged file can make Pillow's decoders raise nearly anything
            raise BadImage(f"the image cannot be decoded: {error}") from error
        return np.asarray(image).reshape(self._height, self._width, self._channels).transpose(2, 0, 1)

    def _center(self, width: int, height: int) -> tuple[float, float, float, float]:
        """The rectangle of an image that is scaled to what the student sees."""
        scale = min(width / self._width, height / self._height)
        across = self._reading["crop"] * min(self._width * scale, width)
        along = self._reading["crop"] * min(self._height * scale, height)
        left, top = (width - across) / 2, (height - along) / 2
        return left, top, min(left + across, width), min(top + along, height)

    def _decode_reduced(self, image: Image.Image, turned: int) -> None:
        """Let a JPEG be decoded at half, a quarter or an eighth of its size where that leaves twice what is needed."""
        width, height = reversed(image.size) if turned in (5, 6, 7, 8) else image.size
        left, top, right, bottom = self._center(width, height)
        pixels_for_one = min((right - left) / self._width, (bottom - top) / self._height) / 2
        for factor in (8, 4, 2):
            if pixels_for_one >= factor:
                image.draft(None, (image.width // factor, image.height // factor))
                return


def orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 (upright) to 8; 1 without one, or where it cannot be read."""
    # A PNG may carry the tag behind its pixels, where neither browsers nor training look for it.
    if image.format == "PNG" and "exif" not in image.info:
        return 1
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except Exception:  # damaged metadata makes Pillow raise nearly anything, and the pixels can be whole
        return 1


class Handler(BaseHTTPRequestHandler):
    """POST an encoded image to /, get JSON; GET / for the class names."""

    student: Student
    places = threading.BoundedSemaphore(AT_A_TIME)
    timeout = SECONDS_TO_SEND
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """The class names."""
        self._send(HTTPStatus.OK, {"class_names": self.student.class_names, "send": "POST an encoded image to /"})

    def do_POST(self) -> None:
        """The answer to an image."""
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()):
            self._refuse(HTTPStatus.LENGTH_REQUIRED, "give a Content-Length and the encoded image as the body")
            return
        if len(length) > 12 or int(length) > MOST_BYTES:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"at most {MOST_BYTES:,} bytes are taken")
            return
        encoded = self.rfile.read(int(length))
        with self.places:
            try:
                answer = self.student.answer(encoded)
            except BadImage as error:
                self._send(HTTPStatus.BAD_REQUEST, {"error": str(error)})
                return
        self._send(HTTPStatus.OK, answer)

    def _refuse(self, status: HTTPStatus, why: str) -> None:
        """Answer without reading the body; the connection then cannot take another request."""
        self.close_connection = True
        self._send(status, {"error": why})

    def _send(self, status: HTTPStatus, content: dict[str, object]) -> None:
        body = (json.dumps(content) + "\n").encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)


def serve(student: Student, host: str, port: int) -> None:
    """Answer requests until interrupted. Port 0 takes any that is free; the first line printed names it."""
    handler = type("StudentHandler", (Handler,), {"student": student})
    with ThreadingHTTPServer((host, port), handler) as server:
        print(f"serving on http://{host}:{server.server_port}/", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print("stopped", file=sys.stderr)


def answer_files(student: Student, paths: list[Path]) -> int:
    """One line of JSON for each image; a bad one is a line with its error. 1 if there was any, else 0."""
    failed = 0
    for path in paths:
        try:
            if path.stat().st_size > MOST_BYTES:
                raise BadImage(f"more than {MOST_BYTES:,} bytes")
            answer = student.answer(path.read_bytes())
        except (BadImage, OSError) as error:
            answer, failed = {"error": str(error)}, 1
        print(json.dumps({"file": str(path), **answer}), flush=True)
    return failed


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Answer images by an exported student.")
    parser.add_argument("model", type=Path, help="student.onnx, as preceptor export writes it")
    parser.add_argument("images", type=Path, nargs="*", help="files to answer; without any it serves HTTP")
    parser.add_argument("--host", default="127.0.0.1", help="address to serve on (default: this machine alone)")
    parser.add_argument("--port", type=int, default=8000, help="0 takes any that is free (default 8000)")
    arguments = parser.parse_args()
    try:
        student = Student(arguments.model)
    except Exception as error:  # ONNX Runtime's errors have no base of their own
        reason = str(error).strip().splitlines()[0]
        print(f"{arguments.model}: not a student that preceptor export wrote ({reason})", file=sys.stderr)
        return 2
    if arguments.images:
        return answer_files(student, arguments.images)
    serve(student, arguments.host, arguments.port)
    return 0


if __name__ == "__main__":
    sys.exit(main())
