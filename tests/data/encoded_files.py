"""Small images as files, for the tests of what reads them."""

import io
from pathlib import Path

import numpy as np
from PIL import Image


def png(seed: int, side: int = 6) -> bytes:
    """A color image of random pixels."""
    content = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


def save_png(path: Path, seed: int, side: int = 6) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png(seed, side))
    return path
