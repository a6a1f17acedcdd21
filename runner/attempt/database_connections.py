"""Keep the database connections of frameworks fresh for each run, and never share them between processes.

Around a run, Django's connections are handled as around a request, with some additions. Celery's fix-up for Django is
installed only in apps that are created while ``DJANGO_SETTINGS_MODULE`` is set. The generated app exists before
``setup`` of ``runner.yaml`` sets Django up, so this module replaces the fix-up. Connections that a worker's parent has
opened with Django or SQLAlchemy are closed before takers are forked.

This module does not import a framework: if the project has not imported one, there is nothing to do.
"""

from __future__ import annotations

import contextlib
import gc
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from celery.exceptions import SoftTimeLimitExceeded
from celery.utils.log import get_logger

log = get_logger(__name__)

ASYNC_PATIENCE = 5.0
"""Seconds to wait for the thread of async code, where a call of an ended run may still be active."""


def with_fresh_connections(call: Callable[..., Any], *args: Any) -> Any:
    """Return the result of ``call``, with usable connections before it and no open transaction after it.

    ``CONN_MAX_AGE`` limits the age of a connection, as for requests. A kept connection is tested before each run, which
    costs a round trip to the database: a run is worth more than a request.
    """
    _for_each(_renew)
    _in_thread_of_async_code(_renew)
    try:
        return call(*args)
    finally:
        _in_thread_of_async_code(_release)
        _for_each(_release)
        _close_caches()


def close_before_forks() -> None:
    """Close the connections that ``setup`` and imports have opened in the parent, because children would share them."""
    _for_each(_close)
    _in_thread_of_async_code(_close)
    _end_thread_of_async_code()
    module = sys.modules.get("sqlalchemy.engine")
    if module is None:
        return
    # There is no list of the engines of a process. Compare types, because `isinstance` runs code of proxies.
    for engine in [obj for obj in gc.get_objects() if issubclass(type(obj), module.Engine)]:
        with contextlib.suppress(Exception):
            if not _in_memory(engine):
                engine.dispose()


def _in_memory(engine: Any) -> bool:
    """Return whether an engine's data is only in this process, so that each child inherits its own copy."""
    name = str(engine.url.database or "")
    return engine.dialect.name == "sqlite" and (not name or ":memory:" in name or "mode=memory" in str(engine.url))


def _close(connection: Any) -> None:
    _release(connection)
    connection.close()
    if hasattr(connection, "close_pool"):
        connection.close_pool()


def _for_each(act: Callable[[Any], None]) -> None:
    if _django("django.db") is None:
        return
    for connection in _open_connections():
        try:
            act(connection)
        except SoftTimeLimitExceeded:
            if act is _renew:
                raise
        except Exception as error:  # noqa: BLE001 - of somebody's driver; the run itself goes on, or has ended
            log.warning("the connection %s of Django cannot be closed: %s", connection.alias, type(error).__name__)


def _in_thread_of_async_code(act: Callable[[Any], None]) -> None:
    """Do the same with the connections of the thread in which ``sync_to_async`` calls Django from coroutines.

    All coroutines of a process share it, so nothing is done if other threads may be performing runs.
    """
    executor = _executor_of_async_code()
    if executor is None or threading.current_thread() is not threading.main_thread():
        return
    try:
        executor.submit(_for_each, act).result(ASYNC_PATIENCE)
    except SoftTimeLimitExceeded:
        if act is _renew:
            raise
    except Exception as error:  # noqa: BLE001 - a call that a run has left there does not end, or it was shut down
        log.warning("Django's connections of async code cannot be closed: %s", type(error).__name__)


def _end_thread_of_async_code() -> None:
    """Make each fork start its own thread: it would wait forever for that of its parent."""
    if (executor := _executor_of_async_code()) is not None:
        executor.shutdown()
        sys.modules["asgiref.sync"].SyncToAsync.single_thread_executor = ThreadPoolExecutor(max_workers=1)


def _executor_of_async_code() -> ThreadPoolExecutor | None:
    """Return the executor of that thread, if it was started."""
    found = getattr(getattr(sys.modules.get("asgiref.sync"), "SyncToAsync", None), "single_thread_executor", None)
    started = isinstance(found, ThreadPoolExecutor) and any(thread.is_alive() for thread in found._threads)
    return found if started else None


def _renew(connection: Any) -> None:
    _release(connection)
    if connection.connection is not None and not connection.is_usable():
        connection.close()


def _release(connection: Any) -> None:
    if _in_transaction(connection):
        # Closing it ends the transaction, even if the server does not answer.
        connection.in_atomic_block = False
        if connection.vendor == "sqlite":
            connection.connection.rollback()  # Django never closes a database in memory
        connection.close()
    connection.close_if_unusable_or_obsolete()


def _in_transaction(connection: Any) -> bool:
    """Return whether a run has left a transaction open, by ``atomic``, ``set_autocommit``, or SQL."""
    if connection.in_atomic_block:
        return True
    raw = connection.connection
    # psycopg 3 and 2 know, and sqlite3; IDLE is 0.
    status = getattr(getattr(raw, "info", None), "transaction_status", 0)
    return bool(status or getattr(raw, "in_transaction", False))


def _open_connections() -> Iterator[Any]:
    """Yield the connections that this thread has opened."""
    database, conf = _django("django.db"), _django("django.conf")
    if database is None or conf is None or not conf.settings.configured:
        return
    for connection in database.connections.all(initialized_only=True):
        if connection.connection is not None:
            yield connection


def _close_caches() -> None:
    cache = _django("django.core.cache")
    if cache is not None:
        # Some cache backends keep connections, too, which Django closes after each request.
        with contextlib.suppress(Exception):
            cache.close_caches()


def _django(module: str) -> Any:
    return sys.modules.get(module)
