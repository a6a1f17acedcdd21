"""Makes the tables and the users, enqueues tasks, and prints their ids as JSON, with what the system checks say."""

import json

from office.boot import setup

setup()

from django.conf import settings  # noqa: E402
from django.contrib.auth.models import Permission, User  # noqa: E402
from django.core.checks import run_checks  # noqa: E402
from django.core.management import call_command  # noqa: E402
from office import tasks  # noqa: E402

from runner.django.archive_check import check_archive  # noqa: E402

call_command("makemigrations", "runner", check_changes=True, dry_run=True, verbosity=0)
call_command("migrate", run_syncdb=True, verbosity=0)
User.objects.create_superuser("boss", password="boss")
for name, wanted in {
    "nobody": (),
    "viewer": ("view_run",),
    "operator": ("view_run", "revoke_run", "rerun_run"),
}.items():
    user = User.objects.create_user(name, password=name, is_staff=True)
    user.user_permissions.set(Permission.objects.filter(content_type__app_label="runner", codename__in=wanted))
report = {
    "done": tasks.count_invoices.enqueue(note="<b>bold</b>").id,
    "failed": tasks.fail.enqueue().id,
    "waiting": tasks.count_invoices.using(queue_name="nobody").enqueue().id,
    "checks": [check.id for check in run_checks()],
}

database = dict(settings.DATABASES["default"])
OTHERS = {
    "another database": {**database, "NAME": "another"},
    "another server": {**database, "HOST": "db.example.com"},
    "another port": {**database, "PORT": "1"},
    "this host": {**database, "HOST": "::1"},
    "a socket": {**database, "HOST": "/run/postgresql"},
    "a service": {"ENGINE": database["ENGINE"], "OPTIONS": {"service": "shop"}},
    "SQLite": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"},
    "MySQL": {**database, "ENGINE": "django.db.backends.mysql"},
}
report["others"] = {}
for case, other in OTHERS.items():
    settings.DATABASES = {"default": other}
    report["others"][case] = [message.id for message in check_archive()]
settings.TASKS = {"default": {**settings.TASKS["default"], "OPTIONS": {"project": settings.BASE_DIR / "bare"}}}
report["others"]["no archive"] = [message.id for message in check_archive()]
settings.TASKS = {"default": {**settings.TASKS["default"], "OPTIONS": {"project": "/nowhere"}}}
report["others"]["no project"] = [message.id for message in check_archive()]
print(json.dumps(report))
