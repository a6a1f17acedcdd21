"""The shop's pages."""

from django.http import HttpRequest, JsonResponse
from django.urls import path

import runner


def close(request: HttpRequest) -> JsonResponse:
    """Submit a job and say which run it is."""
    least = int(request.GET.get("least", "0"))
    run = runner.submit("close-orders", {"least": least}, key=request.GET.get("key"))
    return JsonResponse({"id": run.id})


def state(request: HttpRequest, run_id: str) -> JsonResponse:
    """Say what became of a run."""
    return JsonResponse({"state": runner.get_run(run_id).state})


urlpatterns = [path("close", close), path("state/<run_id>", state)]
