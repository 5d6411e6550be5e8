"""Numbers of pages and pictures."""

import pytest
from timbrel.export.reports.measure import percent, two_digits


@pytest.mark.parametrize(
    ("number", "text"), [(-0.001, "0.00"), (0.0, "0.00"), (-0.005001, "−0.01"), (-12.345, "−12.35"), (3.14159, "3.14")]
)
def test_two_digits_have_a_true_minus_and_no_negative_zero(number, text):
    assert two_digits(number) == text


@pytest.mark.parametrize(("share", "text"), [(1, "100 %"), (0.9999, "99.9 %"), (0.5, "50.0 %"), (0, "0.0 %")])
def test_only_all_of_them_are_a_hundred_percent(share, text):
    assert percent(share) == text
