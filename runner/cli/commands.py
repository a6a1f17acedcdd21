"""Every command with the line that ``runner --help`` shows: declared here once, loaded when it is called."""

COMMANDS = {
    # name, which is also the module in runner.cli: one line of help
    "submit": "Submit a run of a job, print its id.",
    "run": "Run a job here and now, print its result.",
    "status": "Show runs.",
    "wait": "Wait until runs have ended.",
    "watch": "Follow a run, a job or everything as it happens.",
    "logs": "Show what a run wrote.",
    "why": "Say what a run waits for, or why it ended.",
    "runs": "List runs, newest first.",
    "revoke": "Revoke runs: what waits never starts.",
    "forget": "Forget finished runs.",
    "rerun": "Submit finished runs again, with the same params.",
    "jobs": "List the jobs, or show one.",
    "validate": "Check the files of jobs.",
    "new": "Write a job for a function.",
    "schema": "Print the JSON Schema of jobs.d or runner.yaml.",
    "worker": "Start a worker in the foreground.",
    "up": "Start the embedded server, a worker and a scheduler.",
    "down": "Stop what up -d started, and the embedded server.",
    "tick": "Submit the scheduled runs that are due.",
    "scheduler": "Submit scheduled runs when they are due, in the foreground.",
    "upcoming": "Show the next scheduled runs, and those that were missed.",
    "doctor": "Check server, settings, workers and ledger; mend what can be mended.",
    "init": "Make a project that runs at once.",
    "completion": "Print the completion script of a shell.",
}
