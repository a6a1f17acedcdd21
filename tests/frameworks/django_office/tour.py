"""Goes through the admin as several users, empties Redis, and goes on; prints what each saw as JSON."""

import json
import re
import sys

from office.boot import setup

setup()

from django.contrib.admin.models import LogEntry  # noqa: E402
from django.db import connection  # noqa: E402
from django.test import Client  # noqa: E402
from office import tasks  # noqa: E402

import runner  # noqa: E402
from runner.django.home import home_project  # noqa: E402
from runner.django.models import ReadOnly, Run  # noqa: E402

done, failed, waiting = sys.argv[1:]
LIST = "/admin/runner/run/"


def enter(name: str) -> Client:
    """Log in."""
    client = Client(enforce_csrf_checks=True)
    assert client.login(username=name, password=name)
    return client


def see(client: Client, path: str = "") -> str:
    """Return a page, or its status if that is not 200."""
    answer = client.get(LIST + path)
    return answer.content.decode() if answer.status_code == 200 else str(answer.status_code)


def press(client: Client, run_id: str, button: str, **fields: str) -> list[object]:
    """Press a button of a run's page; return the status, and the messages that follow."""
    see(client, f"{done}/change/")  # for the token of its forms
    token = client.cookies["csrftoken"].value if "csrftoken" in client.cookies else ""
    answer = client.post(f"{LIST}{run_id}/{button}/", {"csrfmiddlewaretoken": token, **fields}, follow=True)
    messages = re.findall(r'<li class="(?:success|error)">(.*?)</li>', answer.content.decode(), re.DOTALL)
    return [answer.redirect_chain[0][1] if answer.redirect_chain else answer.status_code, *messages]


def press_for_all(client: Client, filters: str, *ids: str) -> list[str]:
    """Run all runs of a list again, not only those of its page; return the messages."""
    see(client, filters)
    fields = {"action": "rerun_all", "select_across": "1", "index": "0", "_selected_action": ids}
    token = client.cookies["csrftoken"].value
    answer = client.post(LIST + filters, {"csrfmiddlewaretoken": token, **fields}, follow=True)
    return re.findall(r'<li class="(?:success|error)">(.*?)</li>', answer.content.decode(), re.DOTALL)


def copy(run_id: str, begin: str, copies: int) -> None:
    """Put copies of an archived run into the archive, whose ids begin with ``begin``."""
    columns = [field.column for field in Run._meta.fields]
    own = f"'{begin}' || right(n::text, 4) || substr(id, 9)"
    changed = {"id": own, "document": f"replace(document, id, {own})"}
    values = ", ".join(changed.get(name, name) for name in columns)
    rows = f"SELECT {values} FROM runner_runs, generate_series(10001, 10000 + %s) n WHERE id = %s"
    with connection.cursor() as cursor:
        cursor.execute(f"INSERT INTO runner_runs ({', '.join(columns)}) {rows}", [copies, run_id])


def buttons(page: str) -> list[str]:
    """Return the buttons of a run's page."""
    return re.findall(r'<button class="button"[^>]*>(.*?)</button>', page)


users = {name: enter(name) for name in ("boss", "nobody", "viewer", "operator")}
operator, viewer = users["operator"], users["viewer"]
report: dict[str, object] = {"nobody": [see(users["nobody"]), see(users["nobody"], f"{done}/change/")]}
page = see(viewer)
report["list"] = [run_id[:8] in page for run_id in (done, failed, waiting)]
report["live"] = waiting[:8] in page.partition('id="changelist"')[0]
report["failed only"] = [run_id[:8] in see(viewer, "?state=FAILURE") for run_id in (done, failed, waiting)]
report["found"] = [run_id[:8] in see(viewer, f"?q={done[:12]}") for run_id in (done, failed)]
report["buttons"] = {
    name: {run: buttons(see(client, f"{run_id}/change/")) for run, run_id in (("done", done), ("waiting", waiting))}
    for name, client in users.items()
    if name != "nobody"
}
report["refused"] = [
    press(viewer, waiting, "revoke"),
    press(viewer, done, "rerun"),
    press(users["nobody"], done, "rerun"),
]
bare = Client(enforce_csrf_checks=True)
bare.login(username="operator", password="operator")
report["forged"] = bare.post(f"{LIST}{waiting}/revoke/").status_code
report["by link"] = operator.get(f"{LIST}{waiting}/revoke/").status_code
report["still"] = runner.get_run(waiting).state
report["revoked"] = press(operator, waiting, "revoke")
report["state"] = [runner.get_run(waiting).state, home_project().ledger.get(waiting).revocation["by"]]
report["again"] = press(operator, waiting, "revoke")

home_project().ledger.client.flushall()
page = see(viewer)
report["flushed list"] = [run_id[:8] in page for run_id in (done, failed)]
page = see(viewer, f"{failed}/change/")
report["flushed page"] = ["no ink in attempt 2" in page, "Traceback" in page, "FAILURE" in page]
page = see(viewer, f"{done}/change/")
report["flushed log"] = ["counting" in page, "&lt;b&gt;bold" in page, "<b>bold" in page]
result = tasks.count_invoices.get_result(done)
report["flushed result"] = [str(result.status), result.return_value, tasks.fail.get_result(failed).attempts]
run = Run.objects.get(id=done)
report["model"] = [
    run.state,
    run.result,
    run.params,
    run.final,
    run.took.total_seconds() >= 0,
    run.document["id"] == done,
]
report["rerun"] = press(operator, done, "rerun")
(made,) = runner.get_runs(job="count-invoices", limit=1)
report["made"] = [made.document()[name] for name in ("rerun_of", "params", "trigger", "submitted_by")]


def live() -> int:
    """Return how many runs the ledger has."""
    return len(home_project().ledger.runs(limit=300))


copy(done, "feed", 101)
before = live()
report["all of many"] = [*press_for_all(operator, "?q=feed", f"feed0001{done[8:]}"), live() - before]
report["all of few"] = [*press_for_all(operator, "?q=feed01", f"feed0100{done[8:]}"), live() - before]
report["deleted"] = [see(users["boss"], f"{done}/delete/"), see(users["boss"], "add/")]
report["unknown"] = see(viewer, "0000000000000000/change/")
report["noted"] = sorted(LogEntry.objects.values_list("user__username", "object_id", "change_message"))
refused = 0
for act in (run.save, run.delete, Run.objects.all().delete, lambda: Run.objects.update(state="SUCCESS")):
    try:
        act()
    except ReadOnly:
        refused += 1
report["read-only"] = refused
print(json.dumps(report))
