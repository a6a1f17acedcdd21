"""Runs in Django's admin: a list with filters, a page per run, and buttons for revoke and rerun."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import redirect
from django.urls import path, reverse
from django.utils.functional import cached_property
from django.utils.html import format_html

from runner.actions.logs import read_log
from runner.actions.rerun import rerun
from runner.actions.revoke import revoke
from runner.actions.submit import recorded
from runner.django.home import home_project
from runner.django.models import Run
from runner.errors import ArchiveUnavailable, RunnerError, Unavailable, UnknownRun
from runner.ledger.search import search
from runner.ledger.submission import Submitted
from runner.model.run import FINAL, FailureReason, RevokedReason, State
from runner.model.run_id import is_run_id
from runner.model.run_query import RunQuery

MOST_LISTED = 10_000
"""The maximum number of runs in a list: counting the whole archive would read it."""
MOST_LIVE = 50
"""The maximum number of unfinished runs above the list."""
LOG_LINES = 1000
"""Of an unfinished run."""
MOST_RERUN = 100
"""The maximum number of runs that one request reruns: "Select all" in the list means the whole archive."""


class NewestPages(Paginator):
    """Pages of the first runs of a list."""

    @cached_property
    def count(self) -> int:
        """Return the number of runs on the pages."""
        return int(self.object_list[:MOST_LISTED].count())


class _Filter(admin.SimpleListFilter):
    """A filter with fixed choices, which need no query over all runs."""

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:  # noqa: ARG002
        """Return the runs with the chosen value."""
        value = self.value()
        return queryset if value is None else queryset.filter(**{self.parameter_name: value})


class JobFilter(_Filter):
    """Filter by currently declared jobs."""

    title = "job"
    parameter_name = "job"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:  # noqa: ARG002
        """Return the names of jobs."""
        project = home_project()
        project.look()
        return [(name, name) for name in sorted(project.catalog.jobs)]


class StateFilter(_Filter):
    """Filter by final states: other runs are not archived."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:  # noqa: ARG002
        """Return the states."""
        return [(str(state), str(state)) for state in State if state in FINAL]


class ReasonFilter(_Filter):
    """Filter by reasons why runs did not succeed."""

    title = "reason"
    parameter_name = "reason"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:  # noqa: ARG002
        """Return the reasons."""
        return [(str(reason), str(reason)) for kind in (FailureReason, RevokedReason) for reason in kind]


class FlowFilter(_Filter):
    """Filter for step runs, which are left out by default."""

    title = "step runs"
    parameter_name = "steps"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:  # noqa: ARG002
        """Return the additional choice."""
        return [("shown", "Shown")]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:  # noqa: ARG002
        """Return the runs that are not step runs, or all runs."""
        return queryset if self.value() else queryset.filter(flow__isnull=True)


@admin.register(Run)
class RunAdmin(admin.ModelAdmin):
    """The pages of runs. Who may see, revoke, and rerun them: ``runner.view_run``, ``.revoke_run``, ``.rerun_run``."""

    list_display = ("short_id", "job", "state", "reason", "submitted_at", "took", "queue", "worker")
    list_display_links = ("short_id",)
    list_filter = (StateFilter, ReasonFilter, JobFilter, ("submitted_at", admin.DateFieldListFilter), FlowFilter)
    search_fields = ("id__startswith",)
    search_help_text = "The beginning of an ID"
    sortable_by = ("submitted_at",)
    ordering = ("-submitted_at", "-id")
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    paginator = NewestPages
    actions = ("rerun_all",)
    fields: Any = None
    fieldsets = (
        (None, {"fields": ("id", "job", "state", "reason", "detail", "shown_error", "shown_log")}),
        ("Data", {"fields": ("shown_params", "shown_result", "tags")}),
        ("Times", {"fields": ("submitted_at", "eta", "started_at", "finished_at", "took")}),
        (
            "Origin",
            {
                "fields": (
                    *("trigger", "submitted_by", "key", "slot", "flow", "step", "item", "rerun_of", "hook_of"),
                    "backfill",
                )
            },
        ),
        ("Execution", {"fields": ("queue", "priority", "worker", "attempts", "retries", "losses")}),
    )

    def get_queryset(self, request: HttpRequest) -> Any:
        """Return the runs without their large columns, which a list does not show."""
        found = super().get_queryset(request)
        wanted = request.resolver_match is not None and request.resolver_match.url_name == "runner_run_changelist"
        return found.defer("params", "result", "error", "log", "document") if wanted else found

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Run | None:
        """Return an archived run, or one of the ledger."""
        archived = super().get_object(request, object_id, from_field)
        if archived is not None:
            return archived
        if not is_run_id(object_id):
            return None
        project = home_project()
        try:
            run = project.ledger.get(object_id)
            return Run.of_ledger(run, list(read_log(project, run.id, tail=LOG_LINES)))
        except UnknownRun:
            return None
        except RunnerError as error:
            self._show(request, error)
            return None

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002
        """Return False: runs cannot be added here."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Run | None = None) -> bool:  # noqa: ARG002
        """Return False: runs cannot be changed here."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Run | None = None) -> bool:  # noqa: ARG002
        """Return False: runs cannot be deleted here."""
        return False

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may revoke runs."""
        return bool(request.user.has_perm("runner.revoke_run"))

    def has_rerun_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may rerun runs."""
        return bool(request.user.has_perm("runner.rerun_run"))

    def get_urls(self) -> list[Any]:
        """Return the URLs, with those of the buttons."""
        views = ((self.revoke_view, "revoke"), (self.rerun_view, "rerun"))
        own = [
            path(f"<path:object_id>/{name}/", self.admin_site.admin_view(view), name=f"runner_run_{name}")
            for view, name in views
        ]
        return [*own, *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Show the list; above it, unless it is filtered, the runs that have not ended."""
        live: list[Any] = []
        if request.method == "GET" and not request.GET and self.has_view_permission(request):
            try:
                query = RunQuery(state=[state for state in State if state not in FINAL])
                live = search(home_project().ledger, query, limit=MOST_LIVE).runs
            except RunnerError as error:
                self._show(request, error)
        return super().changelist_view(request, {**(extra_context or {}), "live": live})

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **options: Any) -> Any:
        """Show the page of a run with the buttons that apply to it and that the user may use."""
        run = options.get("obj")
        if run is not None:
            context["may_revoke"] = not run.final and self.has_revoke_permission(request)
            context["may_rerun"] = run.final and self.has_rerun_permission(request)
        return super().render_change_form(request, context, *args, **options)

    def revoke_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Revoke a run, and terminate it if requested."""
        if not self.has_revoke_permission(request):
            raise PermissionDenied

        def act(run_id: str) -> str:
            terminate = bool(request.POST.get("terminate"))
            run, changed = revoke(home_project(), run_id, terminate=terminate, by=request.user.get_username())
            if not changed:
                return f"Run {run.id} is {run.state}: nothing was left to revoke."
            self._note(request, run.id, run.job, "Revoked" + (" and terminated" if terminate else ""))
            return f"Run {run.id} was revoked."

        return self._post(request, object_id, act)

    def rerun_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Rerun a run."""
        if not self.has_rerun_permission(request):
            raise PermissionDenied
        return self._post(request, object_id, partial(self._rerun, request))

    @admin.action(description="Run again", permissions=["rerun"])
    def rerun_all(self, request: HttpRequest, queryset: Any) -> None:
        """Rerun the selected runs and show their number in one message; rerun none if there are too many."""
        ids = list(queryset.values_list("id", flat=True)[: MOST_RERUN + 1])
        if len(ids) > MOST_RERUN:
            message = f"More than {MOST_RERUN} runs are selected, so none was submitted again."
            messages.error(request, message)
            return
        made = 0
        troubles: list[str] = []
        for run_id in ids:
            try:
                submitted = self._submit_again(request, run_id)
            except RunnerError as error:
                troubles.append(f"{run_id}: {_message_of(error)}")
                if isinstance(error, Unavailable | ArchiveUnavailable):
                    break  # each of the others would wait as long, too
            else:
                made += 1
                if not submitted.handed_over:
                    break  # the same for RabbitMQ, after waiting for it
        message = f"{made} of {len(ids)} runs were submitted again."
        if made == len(ids):
            messages.success(request, message)
        elif not troubles:
            messages.warning(request, f"{message} RabbitMQ does not answer, so the others were left out.")
        else:
            messages.error(request, f"{message} {len(troubles)} failed; the last was {troubles[-1]}")

    def _rerun(self, request: HttpRequest, run_id: str) -> str:
        made = self._submit_again(request, run_id).id
        where = reverse(f"{self.admin_site.name}:runner_run_change", args=[made])
        return format_html('Run {} was submitted again, as <a href="{}">{}</a>.', run_id, where, made)

    def _submit_again(self, request: HttpRequest, run_id: str) -> Submitted:
        project = home_project()
        project.look()
        submitted = recorded(lambda: rerun(project, run_id, by=request.user.get_username()))
        self._note(request, run_id, submitted.id, "Submitted again")
        return submitted

    def _post(self, request: HttpRequest, object_id: str, act: Callable[[str], str]) -> HttpResponse:
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        self._act(request, partial(act, unquote(object_id)))
        return redirect(f"{self.admin_site.name}:runner_run_change", object_id)

    def _act(self, request: HttpRequest, act: Callable[[], str]) -> None:
        try:
            messages.success(request, act())
        except RunnerError as error:
            self._show(request, error)

    def _show(self, request: HttpRequest, error: RunnerError) -> None:
        messages.error(request, _message_of(error))

    def _note(self, request: HttpRequest, run_id: str, label: str, act: str) -> None:
        self.log_change(request, Run(id=run_id, job=label), act)

    @admin.display(description="ID", ordering=None)
    def short_id(self, run: Any) -> str:
        """Return the beginning of the id."""
        return str(run.id)[:8]

    @admin.display(description="Error")
    def shown_error(self, run: Any) -> str:
        """Return the type, message, and traceback."""
        error = run.error
        if error is None:
            return "-"
        return _pre(error.get("traceback") or f"{error.get('type')}: {error.get('message')}")

    @admin.display(description="Log")
    def shown_log(self, run: Any) -> str:
        """Return the end of the log."""
        return _pre(run.log_text) if run.log else "-"

    @admin.display(description="Params")
    def shown_params(self, run: Any) -> str:
        """Return the params as JSON."""
        return _pre(json.dumps(run.params, indent=2, ensure_ascii=False))

    @admin.display(description="Result")
    def shown_result(self, run: Any) -> str:
        """Return the result as JSON."""
        return "expired" if run.result_expired else _pre(json.dumps(run.result, indent=2, ensure_ascii=False))


def _message_of(error: RunnerError) -> str:
    return error.message + (f" ({error.hint})" if error.hint else "")


def _pre(text: str) -> str:
    return str(format_html('<pre style="margin: 0; white-space: pre-wrap; overflow-wrap: anywhere">{}</pre>', text))
