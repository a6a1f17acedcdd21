"""Separate hosts: network namespaces, and a wire between them that delays, loses, or blocks packets.

The wire is a TUN device in each namespace and a thread that carries packets between them, because not every kernel
has netem. It needs root and iproute2. Nothing is named, so nothing is left when the process ends.
"""

from __future__ import annotations

import ctypes
import fcntl
import heapq
import os
import random
import select
import struct
import subprocess
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from tests.support.need import need

CLONE_NEWNET = 0x40000000
TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
DEVICE = "wire0"
_MTU = 1500


def need_namespaces() -> None:
    """Skip the test if this user cannot create network namespaces with a TUN device; fail in CI."""
    need("ip")
    need("nsenter")
    if os.geteuid() == 0 and os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return
    message = "needs root and /dev/net/tun"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


class Network:
    """Named hosts at ``10.77.0.1`` and so on; use it in a ``with``.

    Args:
        names: the names of the hosts.
        one_way: the seconds that a packet takes; a round trip takes twice as long.
    """

    def __init__(self, names: Sequence[str], one_way: float = 0.010) -> None:
        self.names = list(names)
        self.one_way = one_way
        self.loss = 0.0
        """The fraction of packets that are lost."""
        self.cut: set[str] = set()
        """The hosts without any traffic."""
        self.carried = self.dropped = 0
        self._namespaces: list[int] = []
        self._tuns: list[int] = []
        self._thread = threading.Thread(target=self._carry, name="wire", daemon=True)
        self._wake = os.pipe()
        self._random = random.Random(1)

    def address(self, host: str) -> str:
        """Return the address of a host."""
        return f"10.77.0.{self.names.index(host) + 1}"

    def command(self, host: str, *words: str) -> list[str]:
        """Return the command that runs ``words`` on a host, with the same process id."""
        namespace = self._namespaces[self.names.index(host)]
        return [need("nsenter"), f"--net=/proc/{os.getpid()}/fd/{namespace}", *words]

    def __enter__(self) -> Self:
        for name in self.names:
            made: list[tuple[int, int] | OSError] = []
            # A namespace belongs to a thread, and exists as long as a process has it open.
            maker = threading.Thread(target=lambda made=made: made.append(_make()))
            maker.start()
            maker.join()
            [found] = made
            if isinstance(found, OSError):
                raise found
            namespace, tun = found
            self._namespaces.append(namespace)
            self._tuns.append(tun)
            for words in (
                ("link", "set", "lo", "up"),
                ("address", "add", f"{self.address(name)}/24", "dev", DEVICE),
                ("link", "set", DEVICE, "mtu", str(_MTU), "up"),
            ):
                subprocess.run(self.command(name, need("ip"), *words), check=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.write(self._wake[1], b"x")
        self._thread.join(10.0)
        for descriptor in (*self._tuns, *self._namespaces, *self._wake):
            os.close(descriptor)

    def _carry(self) -> None:
        """Read packets from every host, and deliver each to the host of its address after the delay."""
        flying: list[tuple[float, int, int, bytes]] = []
        number = 0
        host_of = {tun: index for index, tun in enumerate(self._tuns)}
        while True:
            patience = max(0.0, flying[0][0] - time.monotonic()) if flying else None
            ready, _, _ = select.select([*self._tuns, self._wake[0]], [], [], patience)
            if self._wake[0] in ready:
                return
            now = time.monotonic()
            for tun in ready:
                packet = os.read(tun, 65536)
                index = packet[19] - 1 if len(packet) >= 20 and packet[0] >> 4 == 4 else -1
                if not 0 <= index < len(self._tuns):
                    continue  # IPv6 looks for neighbors
                ends = {self.names[host_of[tun]], self.names[index]}
                if ends & self.cut or self._random.random() < self.loss:
                    self.dropped += 1
                    continue
                number += 1
                heapq.heappush(flying, (now + self.one_way, number, index, packet))
            while flying and flying[0][0] <= time.monotonic():
                _, _, index, packet = heapq.heappop(flying)
                if self.names[index] in self.cut:
                    self.dropped += 1
                    continue
                self.carried += 1
                with suppress(OSError):
                    os.write(self._tuns[index], packet)


def _make() -> tuple[int, int] | OSError:
    """Move this thread into a new network namespace with a TUN device; return the descriptors that keep both open."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) != 0:
        code = ctypes.get_errno()
        return OSError(code, f"unshare: {os.strerror(code)}")
    namespace = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        tun = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", DEVICE.encode(), IFF_TUN | IFF_NO_PI))
    except OSError as error:
        return error
    return namespace, tun


SLEEP = """
import select
import time

# libfaketime 0.9.10 breaks clock_nanosleep with an absolute time, which Python 3.11 sleeps with.
time.sleep = lambda seconds: select.select([], [], [], seconds) and None
"""


def faked_clock(folder: Path) -> dict[str, str]:
    """Return the variables that make libfaketime shift a program's clock by the value in ``folder/clock``: ``+90``.

    The monotonic clock and file times do not change: only the time of day is wrong, as on a host whose clock was set.
    """
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    if not found:
        message = "libfaketime is not installed"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    (folder / "sitecustomize.py").write_text(SLEEP)
    return {
        "LD_PRELOAD": str(found[0]),
        "PYTHONPATH": str(folder),
        "FAKETIME_TIMESTAMP_FILE": str(folder / "clock"),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
    }
