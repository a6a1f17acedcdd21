"""A soft timeout raises in a job's code alone."""

from __future__ import annotations

import pytest
from billiard.exceptions import SoftTimeLimitExceeded

from runner.attempt.soft_limit import SoftLimit


def test_it_raises_at_once_in_a_job() -> None:
    limit = SoftLimit()
    with limit, pytest.raises(SoftTimeLimitExceeded):
        limit.strike()


def test_before_the_job_it_raises_when_the_job_begins() -> None:
    limit = SoftLimit()
    limit.strike()
    with pytest.raises(SoftTimeLimitExceeded):
        limit.__enter__()
    limit.strike()  # not in a job any more


def test_after_the_job_it_is_for_nobody() -> None:
    limit = SoftLimit()
    with limit:
        pass
    limit.strike()
    with limit:  # such as for words that an object of the job says
        pass
    limit.begin()
    with limit:
        pass


def test_a_job_that_has_cleaned_up_is_not_interrupted_again() -> None:
    limit = SoftLimit()
    with limit, pytest.raises(SoftTimeLimitExceeded):
        limit.strike()
    with limit:
        pass
