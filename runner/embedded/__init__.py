"""The private server of a project: a Valkey or Redis that lives in ``.runner/`` and serves one folder.

Started when first needed, found by every later command, stopped by ``runner down``. Three things carry this:

- The *socket* tells whether a server is there; recorded process ids are for people. A signal is only sent to the
  process that the kernel names as the other end of the socket, or as a holder of the lock.
- ``start.lock`` is held while somebody starts or stops the server, so that two commands do not do it at once.
- ``server.lock`` is held by the server itself for its whole life (it inherits the descriptor): two servers never
  write the same data, even if a socket was deleted or a process id was used again.

Durability: every write is handed to the system before it is answered, and reaches the disk within a second
(``appendfsync everysec``). So killing the server loses nothing that was answered, unless the disk was too busy to
take a flush for a second; losing power can lose the last second. ``always`` would cost a disk flush a command.
"""

from runner.embedded.server import running, serve, stop
from runner.embedded.state import ServerInfo

__all__ = ["ServerInfo", "running", "serve", "stop"]
