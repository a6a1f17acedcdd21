"""The private server of a project: a Valkey or Redis in ``.runner/``, for one folder.

The first command that needs the server starts it, later commands find it, and ``runner down`` stops it:

- The *socket* shows whether a server is running; recorded process ids are only for people. Signals are sent only to the
  process that the kernel reports as the other end of the socket or as a holder of the lock.
- ``start.lock`` is held while a command starts or stops the server, so that two commands do not do so at once.
- ``server.lock`` is held by the server during its whole life (it inherits the descriptor), so two servers never write
  the same data, even if the socket was deleted or a process id was reused.

Durability: every write is passed to the system before it is answered, and reaches the disk within a second
(``appendfsync everysec``). So killing the server loses no answered write, unless the disk was too busy for a flush
within a second; a power failure can lose the last second. ``always`` would cost a disk flush per command.
"""

from runner.embedded.server import running, serve, stop
from runner.embedded.state import ServerInfo

__all__ = ["ServerInfo", "running", "serve", "stop"]
