"""Decide whether job files may be edited in the browser and through the API."""

from __future__ import annotations

from starlette.requests import Request

from runner.actions.project import Project
from runner.web.access import NotAllowed, Person, Role
from runner.web.requests import state_of
from runner.web.state import State, States, states_of


def editable_project(request: Request) -> Project:
    """Return the project whose job files a request is about. The role of the person is checked elsewhere.

    Of several projects, the first one has to allow it, too, because its ``web:`` section says who is an administrator.

    Raises:
        NotAllowed: ``web.edit`` is off, or nobody has to log in.
        UnknownProject, UsageError: as :meth:`runner.web.state.States.of`.
    """
    states, state = states_of(request), state_of(request)
    if not _is_on(states, state):
        raise NotAllowed("editing job files is off", hint="set web.edit: true in runner.yaml, and restart runner web")
    if states.access.open:
        raise NotAllowed(
            "job files cannot be edited while everybody on this host is an administrator",
            hint="start runner web without --no-token",
        )
    return state.project


def offers_editing(request: Request, person: Person | None) -> bool:
    """Return whether pages should lead to the editor: it is on, and this person may use it."""
    states = states_of(request)
    name = states.chosen(request)
    if person is None or person.role < Role.ADMIN or states.access.open or name not in states.projects.by_name:
        return False
    return _is_on(states, states.named(name))


def _is_on(states: States, state: State) -> bool:
    return states.first.settings.web.edit and state.settings.web.edit
