"""What needs tools of its own is collected only where ``make deploy-check`` or ``make image`` has installed them."""

from __future__ import annotations

import os

collect_ignore = [
    *([] if os.environ.get("RUNNER_TEST_DEPLOY_TOOLS") else ["test_helm.py", "test_kubernetes.py", "test_schemas.py"]),
    *([] if os.environ.get("RUNNER_TEST_IMAGE") else ["test_image.py"]),
]
