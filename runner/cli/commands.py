"""Every command with its line in ``runner --help``, in groups: declared here once, loaded when it is called."""

from __future__ import annotations

GROUPS = {
    # heading: {name, which is also the module in runner.cli: one line of help}
    "Start": {
        "init": "Create a project with an example job.",
        "new": "Add a job for a Python function.",
        "up": "Start the embedded server, a worker, and a scheduler.",
        "down": "Stop what up -d started.",
        "submit": "Submit a run of a job and print its id.",
        "run": "Run a job in the foreground and print its result.",
    },
    "Jobs": {
        "jobs": "List jobs, or show one job.",
        "graph": "Show the steps of a job as a graph.",
        "validate": "Check the job files.",
        "explain": "Explain an option of a job file or of runner.yaml.",
        "plan": "Compare the job files with the jobs that workers run.",
        "upcoming": "Show the next scheduled runs, and missed ones.",
        "pause": "Pause a job, or all jobs.",
        "resume": "Resume a paused job.",
        "backfill": "Run a job for past slots of its schedule.",
        "backfills": "List backfills.",
    },
    "Runs": {
        "runs": "List runs.",
        "status": "Show an overview of the project, or the details of runs.",
        "watch": "Follow a run, a job, or all jobs live.",
        "wait": "Wait until runs end.",
        "logs": "Show the output of a run.",
        "why": "Explain why a run failed, or why it is waiting.",
        "rerun": "Submit finished runs again with the same params.",
        "revoke": "Revoke runs: waiting ones never start.",
        "approve": "Approve steps that are waiting for approval.",
        "reject": "Reject steps that are waiting for approval.",
        "forget": "Delete the records of finished runs.",
    },
    "Operate": {
        "worker": "Start a worker in the foreground.",
        "scheduler": "Submit scheduled runs when they are due.",
        "tick": "Submit the scheduled runs that are due now, once.",
        "workers": "List workers and their states.",
        "queues": "List queues, their waiting runs, and their workers.",
        "stats": "Show success rates and durations of jobs.",
        "doctor": "Find and repair problems of a project.",
        "audit": "Show who did what.",
        "archive": "Copy finished runs to a database.",
        "metrics": "Print metrics for Prometheus.",
        "web": "Serve the dashboard and the REST API.",
    },
    "Set up": {
        "cron": "Let cron or systemd submit scheduled runs.",
        "schema": "Print the JSON Schema of job files or of runner.yaml.",
        "completion": "Print the completion script for a shell.",
        "help": "Show the help of a command.",
    },
}

COMMANDS = {name: line for group in GROUPS.values() for name, line in group.items()}

MEANT = {
    # what people type who know other tools: the command that they mean
    "build": "new",
    "cancel": "revoke",
    "check": "validate",
    "create": "new",
    "dag": "graph",
    "dashboard": "web",
    "delete": "forget",
    "describe": "status",
    "enqueue": "submit",
    "exec": "run",
    "get": "status",
    "history": "runs",
    "kill": "revoke",
    "lint": "validate",
    "list": "jobs or runs",
    "ls": "jobs",
    "next": "upcoming",
    "ps": "runs",
    "restart": "rerun",
    "retry": "rerun",
    "rm": "forget",
    "send": "submit",
    "serve": "web",
    "server": "web",
    "show": "status",
    "start": "up or submit",
    "stop": "down",
    "tail": "logs",
    "trigger": "submit",
    "ui": "web",
    "version": "--version",
}
"""Commands of other tools, for "did you mean"."""
