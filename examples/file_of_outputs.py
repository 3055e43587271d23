"""A file of outputs as teacher: what another program, another machine or a service predicted for your images.

    python examples/file_of_outputs.py FOLDER

Writes the images and the outputs into the folder, then uses nothing else of the teacher.
"""

import sys
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict, train_test_split

import preceptor


def write_files(folder: Path) -> None:
    """Images and labels as arrays, and the probabilities of somebody's classifier, a row an image."""
    images, labels = load_digits(return_X_y=True)
    train, test, train_labels, test_labels = train_test_split(images, labels, test_size=0.25, random_state=0)
    pixels = [(part.reshape(-1, 8, 8) * 255 / 16).astype(np.uint8) for part in (train, test)]
    np.savez(
        folder / "digits.npz",
        train_images=pixels[0],
        train_labels=train_labels,
        test_images=pixels[1],
        test_labels=test_labels,
    )
    # Out of fold: what it says of an image that it has not learned from, as it will of new ones.
    outputs = cross_val_predict(LogisticRegression(max_iter=200), train, train_labels, method="predict_proba")
    np.save(folder / "outputs.npy", outputs)


def main() -> None:
    """Distill a small network from the file."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    write_files(folder)
    # A row says nothing about a shifted or flipped image, so that images are shown as they are.
    trained = preceptor.distill(
        folder / "outputs.npy", "convnet8", folder / "digits.npz", "safe", teacher_output="probabilities", augment=False
    )
    print(f"teacher: {trained.teacher.accuracy:.1%} right on the training images")
    print(f"student: {trained.test.accuracy:.1%} right on the test images")
    print(f"run folder: {trained.folder}")


if __name__ == "__main__":
    main()
