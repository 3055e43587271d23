"""MLflow runs in files under the test's folder, read by MLflow's client."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient
from PIL import Image

from preceptor.errors import MachineError
from preceptor.integrations import tracking
from preceptor.integrations.mlflow import MLflowTracker
from preceptor.integrations.tracker import TrackedRun
from preceptor.run import resolve, run
from tests.integrations.conftest import SETTINGS, cut_off_and_resumed, entries, expected_scalars, log_page, tracked_run


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store, its URI and its client; artifacts go beside it."""
    folder = tmp_path_factory.mktemp("mlflow")
    uri = (folder / "store").as_uri()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # ready at once; a new database is not
        client = MlflowClient(uri)
        client.create_experiment("digits", artifact_location=str(folder / "artifacts"))
        patch.setenv("MLFLOW_EXPERIMENT_NAME", "digits")
        patch.setenv("MLFLOW_TRACKING_URI", uri)
        yield uri, client


def runs(client: MlflowClient):
    """The runs, the latest first."""
    return client.search_runs([client.get_experiment_by_name("digits").experiment_id])


@pytest.fixture(scope="module")
def tracked(tmp_path_factory, store):
    folder = tmp_path_factory.mktemp("runs") / "run"
    losses = tracked_run("mlflow", folder)
    log_page("mlflow", folder)
    (logged,) = runs(store[1])
    return folder, losses, logged


def history(client: MlflowClient, run_id: str, name: str) -> list[tuple[int, float]]:
    return [(point.step, point.value) for point in client.get_metric_history(run_id, name)]


def test_scalars_and_settings(tracked, store):
    folder, losses, logged = tracked
    for name, points in expected_scalars(folder, losses).items():
        assert history(store[1], logged.info.run_id, name) == points, name
    assert (logged.info.run_name, logged.info.status) == ("run", "FINISHED")
    params = logged.data.params
    assert (params["training.batch_size"], params["student"], params["record.device"]) == ("64", "convnet4", "cpu")


def test_tables_image_and_page(tracked, store, tmp_path):
    folder, _, logged = tracked
    got = Path(store[1].download_artifacts(logged.info.run_id, "", str(tmp_path)))
    rows = list(csv.DictReader(io.StringIO((got / "tables/per_class_accuracy.csv").read_text())))
    end = entries(folder)[-1]
    assert [row["class"] for row in rows] == [str(digit) for digit in range(10)]
    assert [float(row["test"]) for row in rows] == end["test"]["per_class_accuracy"]
    (ranked,) = [row for row in csv.DictReader((got / "tables/selective.csv").open()) if row["split"] == "test"]
    assert float(ranked["aurc"]) == end["test"]["selective"][0]["aurc"]
    assert np.asarray(Image.open(got / "images/first_batch.png")).shape[:2] == (72, 72)
    assert (got / "pages/evaluation.html").read_bytes() == (folder / "evaluation.html").read_bytes()


def test_a_resumed_run_goes_on_in_its_run_and_has_each_step_once(tracked, store, tmp_path):
    whole, losses, _ = tracked
    before = {one.info.run_id for one in runs(store[1])}
    cut_off_and_resumed("mlflow", tmp_path / "run")
    (logged,) = [one for one in runs(store[1]) if one.info.run_id not in before]
    assert logged.info.status == "FINISHED"
    for name, points in expected_scalars(whole, losses).items():
        assert history(store[1], logged.info.run_id, name) == points, name


def test_a_run_that_is_cut_off_is_marked(store, tmp_path):
    tracker = MLflowTracker(store[0], TrackedRun(tmp_path / "mlflow.json"))
    tracker.start("cut off", {"recipe.terms.a+b": 'x"' * 5000}, 0)
    tracker.scalars({"loss/a+b": 1.5}, 3)
    tracker.finish(complete=False)
    (logged,) = [one for one in runs(store[1]) if one.info.run_name == "cut off"]
    assert logged.info.status == "KILLED"
    assert history(store[1], logged.info.run_id, "loss/a_b") == [(3, 1.5)]
    assert logged.data.params["recipe.terms.a_b"] == ('x"' * 5000)[:6000]


def test_a_run_that_the_store_does_not_know_is_named(store, tmp_path):
    folder = tmp_path / "run"
    (folder / "tracking").mkdir(parents=True)
    (folder / "tracking" / "mlflow.json").write_text('{"id": "0123456789abcdef0123456789abcdef", "steps": {}}')
    tracker = MLflowTracker(store[0], TrackedRun(folder / "tracking" / "mlflow.json"))
    with pytest.raises(tracker.errors, match="0123456789abcdef"):
        tracker.start("run", {}, 0)


def test_a_store_that_cannot_be_reached_leaves_nothing(tmp_path):
    place = f"mlflow:{(tmp_path / 'file').as_uri()}"
    (tmp_path / "file").write_text("not a folder")
    with (
        pytest.raises(MachineError, match=r"^mlflow: .*preceptor resume"),
        tracking([place], tmp_path / "run") as trackers,
    ):
        run(resolve(SETTINGS), tmp_path / "run", trackers)
    assert not (tmp_path / "run").exists()
