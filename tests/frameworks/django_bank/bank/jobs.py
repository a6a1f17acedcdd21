"""Jobs that say what they find of their connection, and that leave it in disorder."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any

from asgiref.sync import sync_to_async
from django.db import connection, transaction
from django.db.utils import DatabaseError


def look() -> dict[str, Any]:
    """Return the number of this connection, and the requests that are open on it."""
    found = {"atomic": connection.in_atomic_block, "autocommit": connection.get_autocommit()}
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid(), now() = statement_timestamp(), (SELECT count(*) FROM paid)")
        backend, alone, paid = cursor.fetchone()
    return {**found, "backend": backend, "alone": alone, "paid": paid, "process": os.getpid()}


def leave(how: str) -> int:
    """Pay, and return the connection's process without ending the transaction; or raise in the middle of it."""
    if how in ("atomic", "raise", "nested", "broken"):
        transaction.atomic().__enter__()
    if how == "nested":
        transaction.atomic().__enter__()
    if how == "autocommit":
        transaction.set_autocommit(False)
    with connection.cursor() as cursor:
        if how == "begin":
            cursor.execute("BEGIN")
        cursor.execute("INSERT INTO paid VALUES (1)")
        cursor.execute("SELECT pg_backend_pid()")
        (backend,) = cursor.fetchone()
        if how == "broken":
            with suppress(DatabaseError):
                cursor.execute("no SQL")
        if how == "cut":
            cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
    if how == "raise":
        raise ValueError("in the middle")
    return int(backend)


async def look_async() -> dict[str, object]:
    """As `look`, with Django's ORM in the thread that async code has for it."""
    return await sync_to_async(look)()


async def leave_async(how: str) -> None:
    """As `leave`, in that thread."""
    await sync_to_async(leave)(how)
