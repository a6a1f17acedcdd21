"""The actions of people that the audit log records."""

from __future__ import annotations

from typing import Literal, get_args

ActName = Literal[
    "submit",
    "rerun",
    "revoke",
    "terminate",
    "approve",
    "reject",
    "backfill",
    "forget",
    "pause",
    "resume",
    "edit",
    "failed-login",
]

ACTS: tuple[ActName, ...] = get_args(ActName)
