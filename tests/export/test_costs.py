import torch

from preceptor.export import latencies
from tests.export.students import images


def test_latencies_are_of_single_threads_and_of_batches_filled_up():
    threads, sizes = set(), set()

    def work(batch):
        threads.add(torch.get_num_threads())
        sizes.add(len(batch))

    milliseconds = latencies({"a": work, "b": work}, images(5), seconds=0.001)
    assert threads == {1}
    assert sizes == {1, 64}
    assert set(milliseconds) == {"a", "b"}
    assert all(set(times) == {"1", "64"} and min(times.values()) > 0 for times in milliseconds.values())
