"""Rows taken some at a time give what they give all together."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from preceptor import chunking
from preceptor.chunking import Table, chosen_rows, chunked, concat_rows, row_chunks


def drawn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


@given(rows=st.integers(0, 30), columns=st.integers(1, 5), elements=st.integers(1, 40))
def test_blocks_hold_every_row_once_and_few_at_a_time(rows: int, columns: int, elements: int) -> None:
    table, beside = drawn(rows, columns), torch.arange(rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunking, "ELEMENTS", elements)
        actual = list(row_chunks(table, beside))
    assert torch.equal(torch.cat([part for part, _ in actual]), table)
    assert torch.cat([part for _, part in actual]).tolist() == list(range(rows))
    assert all(len(part) == 1 or part.numel() <= elements for part, _ in actual[:-1])


def test_nothing_is_copied() -> None:
    table = drawn(9, 4)
    assert all(part.untyped_storage().data_ptr() == table.untyped_storage().data_ptr() for (part,) in row_chunks(table))


@pytest.mark.parametrize("elements", [1, 7, 1000])
def test_a_function_of_rows_is_called_for_some_at_a_time(monkeypatch: pytest.MonkeyPatch, elements: int) -> None:
    monkeypatch.setattr(chunking, "ELEMENTS", elements)
    seen = []

    @chunked
    def weighed(table: Tensor, own: Tensor, label: Tensor, power: float, *, shift: float = 0.0) -> Tensor:
        """What it does."""
        seen.append(table.numel())
        return (table * own).sum(dim=1) ** power + label + shift

    table, own, label = drawn(6, 4), drawn(6, 4), torch.arange(6)
    expected = (table * own).sum(dim=1) ** 2 + label + 0.5
    assert torch.equal(weighed(table, own, label=label, power=2, shift=0.5), expected)
    assert weighed.__doc__ == "What it does."
    assert max(seen) <= max(elements, 4)
    assert sum(seen) == table.numel()


def test_rows_that_differ_in_number_are_not_cut_off() -> None:
    with pytest.raises(ValueError, match=r"zip\(\)"):
        list(row_chunks(drawn(5, chunking.ELEMENTS // 2), torch.arange(2)))


def test_parts_are_put_together() -> None:
    parts = [drawn(2, 3), drawn(1, 3), drawn(4, 3)]
    assert torch.equal(concat_rows(iter(parts), 7), torch.cat(parts))
    table = Table(3)
    table.add(torch.tensor([1, 2]))
    table.add(torch.tensor([7]))
    assert table.rows.tolist() == [1, 2, 7]
    assert table.rows.dtype == torch.int64
    assert concat_rows([torch.zeros(0, 4)], 0).shape == (0, 4)


def test_rows_that_were_never_made_are_not_handed_out() -> None:
    with pytest.raises(ValueError, match="3 rows; expected 4"):
        concat_rows([drawn(2, 3), drawn(1, 3)], 4)
    table = Table(3)
    table.add(drawn(2, 3))
    with pytest.raises(ValueError, match="2 rows after 2: expected 3 in total"):
        table.add(drawn(2, 3))


def test_all_rows_are_the_table_itself() -> None:
    table, some = drawn(4, 2), torch.tensor([True, False, True, True])
    assert chosen_rows(table, torch.ones(4, dtype=torch.bool)) is table
    assert torch.equal(chosen_rows(table, some), table[[0, 2, 3]])
