"""Check the ScaledObject on stdin against the models of KEDA's API. Runs with the Python of ``make deploy-tools``."""

from __future__ import annotations

import sys

import yaml
from cloudcoil.models.keda.v1alpha1 import ScaledObject

ScaledObject.model_validate(yaml.safe_load(sys.stdin), strict=False, extra="forbid")
