"""``python -m tests.ledger.schedule_swarm FOLDER scheduler|tick``: submit what is due until killed.

The time is what the key NAMESPACE:test-clock says. A scheduler keeps its engine and looks at all jobs now and then; a
tick makes a new one each time, as a crontab does.
"""

from __future__ import annotations

import random
import sys

from runner.actions.project import Project
from runner.actions.tick import Engine


def main() -> None:
    project = Project.open(sys.argv[1])
    client, key = project.ledger.client, f"{project.settings.namespace}:test-clock"

    def now() -> int:
        return int(client.get(key) or 0)

    engine = Engine(project, now)
    engine.tick()
    client.incr(f"{project.settings.namespace}:test-ready")
    while True:
        if sys.argv[2] == "tick":
            engine = Engine(project, now)
        engine.tick(all_jobs=sys.argv[2] == "tick" or random.random() < 0.1)


if __name__ == "__main__":
    main()
