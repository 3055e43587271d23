from preceptor.speed import made, speed_markdown, speed_tables
from tests.speed.tiny import case_result, exactly, row, speed_result

FIRST = case_result(
    row("live", 2.5, 0.4, student="bf16, compiled", teacher="33 batch norms folded, bf16, compiled; triton is missing"),
    row("student-alone", 6.0, 1.0, notes=["something odd"]),
    left_out={"cache-fp32": "no units"},
)
SECOND = case_result(row("live", 2.0), pair="resnet56:resnet20", batch_size=128)
RESULT = speed_result(FIRST, SECOND)


def test_cells_by_hand():
    peer, rate, alone, targets = speed_tables(RESULT).values()
    first, second = "resnet32x4 → resnet8x4, 32x32x3, batch 64", "resnet56 → resnet20, 32x32x3, batch 128"
    assert peer == [
        ("variant", first, second),
        ("live", "2.50 (2.40 to 2.60)", "2.00 (1.90 to 2.10)"),
        ("student-alone", "6.00 (5.90 to 6.10)", "–"),
    ]
    assert rate[1:] == [("peer", "1,234", "1,234"), ("live", "1,234", "1,234"), ("student-alone", "1,234", "–")]
    assert alone == [("variant", first, second), ("live", "0.40 (0.30 to 0.50)", "–")]
    assert targets[3] == ("live against the baseline loop", "at least 2.50", "2.50 (2.40 to 2.60)", "reached")
    assert targets[5] == ("cache against the student alone", "at least 0.95", "–", "not measured")


def test_without_the_case_of_the_targets_there_is_no_table_of_them():
    assert len(speed_tables(speed_result(SECOND))) == 3


def test_markdown_has_every_cell_and_says_how_it_was_made():
    shown = speed_markdown(RESULT)
    for lines in speed_tables(RESULT).values():
        for line in lines:
            assert f"| {' | '.join(line)} |" in shown
    assert (
        "- `live`: what live does (student: bf16, compiled; teacher: 33 batch norms folded, bf16, compiled)." in shown
    )
    assert "- `student-alone`: what student-alone does (student: fp32). Warned: something odd" in shown
    assert "- `cache-fp32`: " in shown
    assert "Left out: no units." in shown
    assert shown.endswith(made(RESULT))


def test_made_names_command_time_and_machine():
    told = made(RESULT)
    assert "Rounds: 2, in turns" in told
    assert "`preceptor bench` in 1.5 min (An Example 3000 with avx2" in told
    assert "load before 0.2" in told


def test_a_spread_that_lies_within_the_last_digit_is_shown_all_the_same():
    same = exactly(3.0).model_copy(update={"low": 3.0, "high": 3.0})
    fast = row("cache", 3.0).model_copy(update={"to_peer": same})
    assert speed_tables(speed_result(case_result(fast)))[
        "Times as fast as the baseline loop, median of the rounds (lower to upper quartile)"
    ][1] == ("cache", "3.00 (3.00 to 3.00)")
