"""The pages of the schedule: a week, and a day hour by hour."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from runner.ledger.pauses import read_pauses
from runner.model.moment import read_day
from runner.web.render import page
from runner.web.requests import Reader, state_of
from runner.web.slot_runs import shown_days, shown_hours

router = APIRouter(include_in_schema=False, dependencies=[Reader])

MOST_IN_DAY = 40
"""Runs that the page shows of one day of a week."""
MOST_IN_HOUR = 4
"""Runs of one job in an hour that are shown one by one."""


@router.get("/schedule")
def show_schedule(request: Request, day: Annotated[str, Query(max_length=32)] = "") -> Response:
    """Show a week from ``day`` on: past slots with their runs, and the runs to come."""
    state = state_of(request)
    now = datetime.now(UTC)
    calendar, today = state.calendar, state.calendar.today(now)
    first = read_day(day) if day else today
    plans = [calendar.plan(first + timedelta(days=number)) for number in range(7)]
    return page(
        request,
        "schedule",
        days=shown_days(state.project.ledger, plans, now, MOST_IN_DAY),
        today=today,
        first=first,
        before=first - timedelta(days=7),
        after=first + timedelta(days=7),
        most=MOST_IN_DAY,
        schedules=state.settings.schedules,
        pauses=read_pauses(state.project.ledger),
        scheduled=bool(calendar.tables),
    )


@router.get("/schedule/{day}")
def show_day(day: Annotated[str, Path(max_length=32)], request: Request) -> Response:
    """Show all runs of a day, hour by hour."""
    state, shown, now = state_of(request), read_day(day), datetime.now(UTC)
    return page(
        request,
        "day",
        day=shown,
        hours=shown_hours(state.project.ledger, state.calendar.hours(shown), now, state.calendar.zone, MOST_IN_HOUR),
        left_out=state.calendar.left_out(shown),
        before=shown - timedelta(days=1),
        after=shown + timedelta(days=1),
        today=state.calendar.today(now),
        schedules=state.settings.schedules,
    )
