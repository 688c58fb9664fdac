"""Another machine for tests: a network namespace, and a wire to it that can break.

The wire is a TUN device at each end and a thread that copies packets, so that a test
says what becomes of them.  It needs root, and of the kernel no more than namespaces and
TUN.
"""

import contextlib
import ctypes
import fcntl
import heapq
import itertools
import os
import random
import select
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

HERE, THERE = 0, 1
"""The sides of a wire: a scheduler is here, its workers are there."""

BOTH = (HERE, THERE)

ADDRESSES = ("10.77.0.1", "10.77.0.2")
"""Those of the sides; other wires have the same, and know nothing of each other."""

TUN = Path("/dev/net/tun")

TCP, SYN, RST, ACK = 6, 0x02, 0x04, 0x10


class Wire:
    """Two machines and the wire between them, which loses what a test wants lost."""

    def __init__(self) -> None:
        ends = [_namespace(address) for address in ADDRESSES]
        self._namespaces = [namespace for namespace, _ in ends]
        self._devices = [device for _, device in ends]
        self._cut: frozenset[int] = frozenset()
        self._flows: list[dict[bytes, int]] = [{}, {}]
        """By side and connection, what that side has acknowledged last."""
        self._end = threading.Event()
        self._copier = threading.Thread(target=self._copy, daemon=True)
        self._copier.start()
        self.delay = 0.0
        """Seconds that a packet takes."""
        self.loss = 0.0
        """The part of packets that get lost."""
        self.lost_data = [0, 0]
        """Packets with data that a side has sent into a cut wire."""
        self.connects = 0
        """Packets by which the other machine asked for a connection."""

    def command(self, side: int, *words: str | Path) -> list[str]:
        """A command on one of the machines; the other has a host name of its own."""
        enter = ["nsenter", f"--net=/proc/{os.getpid()}/fd/{self._namespaces[side]}"]
        if side == THERE:
            rename = 'hostname other-machine && exec "$@"'
            enter += ["unshare", "--uts", "sh", "-c", rename, "sh"]
        return [*enter, *map(str, words)]

    def cut(self, *sides: int) -> None:
        """From now on, lose what these sides send, and only that."""
        self.lost_data = [0, 0]
        self._cut = frozenset(sides)

    def reset(self, *sides: int) -> None:
        """Break all connections, for these sides, as a firewall does; cut or not."""
        for side in sides:
            for flow, number in list(self._flows[side].items()):
                self._deliver(side, _reset(flow, number))

    def _copy(self) -> None:
        """Take packets at one end and deliver them at the other, until the end."""
        dice, number = random.Random(0), itertools.count()  # noqa: S311 - no secret
        due: list[tuple[float, int, int, bytes]] = []
        while not self._end.is_set():
            pause = max(0.0, due[0][0] - time.monotonic()) if due else 0.1
            for device in select.select(self._devices, [], [], min(pause, 0.1))[0]:
                side, packet = self._devices.index(device), os.read(device, 65536)
                if not self._is_lost(side, packet) and dice.random() >= self.loss:
                    at = time.monotonic() + self.delay
                    heapq.heappush(due, (at, next(number), 1 - side, packet))
            while due and due[0][0] <= time.monotonic():
                self._deliver(*heapq.heappop(due)[2:])

    def _is_lost(self, side: int, packet: bytes) -> bool:
        """Whether this is nothing for the other side; what it says, is noted."""
        if packet[0] >> 4 != 4 or packet[9] != TCP:
            return True
        header = (packet[0] & 15) * 4
        ack, offset, flags = struct.unpack("!IBB", packet[header + 8 : header + 14])
        if flags & ACK:
            self._flows[side][packet[12:20] + packet[header : header + 4]] = ack
        elif side == THERE and flags & SYN:
            self.connects += 1
        if side in self._cut:
            self.lost_data[side] += len(packet) > header + (offset >> 4) * 4
            return True
        return False

    def _deliver(self, side: int, packet: bytes) -> None:
        os.write(self._devices[side], packet)

    def close(self) -> None:
        """Let go of both machines."""
        self._end.set()
        self._copier.join()
        for descriptor in (*self._devices, *self._namespaces):
            os.close(descriptor)


@contextlib.contextmanager
def new_wire() -> Iterator[Wire]:
    """Two machines of one's own, for as long as one needs them."""
    with contextlib.closing(Wire()) as wire:
        yield wire


def _namespace(address: str) -> tuple[int, int]:
    """A new network namespace and the device of its end of a wire, as descriptors."""
    made: list[tuple[int, int]] = []

    def make() -> None:
        # Of this thread alone, which ends with that.
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(0x40000000):  # CLONE_NEWNET
            raise OSError(ctypes.get_errno(), "no network namespace")
        device = os.open(TUN, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        _set_up(device, address)
        here = f"/proc/self/task/{threading.get_native_id()}/ns/net"
        made.append((os.open(here, os.O_RDONLY | os.O_CLOEXEC), device))

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    return made[0]


def _set_up(device: int, address: str) -> None:
    """Bring up the network of this thread's namespace."""
    lo, wire = (struct.pack("16s", name) for name in (b"lo", b"wire"))
    # IFF_TUN and IFF_NO_PI: packets as they are.
    fcntl.ioctl(device, 0x400454CA, wire + struct.pack("H22x", 0x1001))  # TUNSETIFF
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        for what, value in ((0x8916, address), (0x891C, "255.255.255.0")):
            # SIOCSIFADDR and SIOCSIFNETMASK
            packed = struct.pack("HH4s16x", socket.AF_INET, 0, socket.inet_aton(value))
            fcntl.ioctl(control, what, wire + packed)
        for name in (lo, wire):
            up = struct.pack("H22x", 1)  # IFF_UP
            fcntl.ioctl(control, 0x8914, name + up)  # SIOCSIFFLAGS


def _reset(flow: bytes, number: int) -> bytes:
    """The packet that ends a connection for who sends this, and awaits that number."""
    addresses = flow[4:8] + flow[:4]
    ports = flow[10:12] + flow[8:10]
    tcp = ports + struct.pack("!IIBBHHH", number, 0, 5 << 4, RST, 0, 0, 0)
    pseudo = addresses + struct.pack("!HH", TCP, len(tcp))
    tcp = tcp[:16] + _checksum(pseudo + tcp) + tcp[18:]
    ip = struct.pack("!BBHIBBH", 4 << 4 | 5, 0, 40, 0, 64, TCP, 0) + addresses
    return ip[:10] + _checksum(ip) + ip[12:] + tcp


def _checksum(data: bytes) -> bytes:
    """That of the internet protocols."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("!H", ~total & 0xFFFF)
