"""The relay carries bytes as they are, and each fault does what its name says. Real sockets."""

from __future__ import annotations

import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from embodied.serving.client import PolicyClient, ServingError, ServingTimeoutError
from embodied.serving.config import ServerConfig
from embodied.serving.server import PolicyServer
from robots.emulators.proxy import FaultProxy
from robots.errors import RobotError


class EchoTcp(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        while data := self.request.recv(65536):
            self.request.sendall(data)


class EchoUdp(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        self.request[1].sendto(self.request[0], self.client_address)


class EchoTcpServer(socketserver.ThreadingTCPServer):
    daemon_threads = True


def proxied(server: socketserver.BaseServer, kind: str) -> Iterator[FaultProxy]:
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    with FaultProxy(*server.server_address, kind) as proxy:  # type: ignore[misc, arg-type]
        yield proxy
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def tcp() -> Iterator[FaultProxy]:
    yield from proxied(EchoTcpServer(("127.0.0.1", 0), EchoTcp), "tcp")


@pytest.fixture
def udp() -> Iterator[FaultProxy]:
    yield from proxied(socketserver.UDPServer(("127.0.0.1", 0), EchoUdp), "udp")


def dial(proxy: FaultProxy) -> socket.socket:
    return socket.create_connection((proxy.host, proxy.port), timeout=10)


def datagrams(proxy: FaultProxy, wait: float = 10.0) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.connect((proxy.host, proxy.port))
    made.settimeout(wait)
    return made


def receive(link: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count and (more := link.recv(65536)):
        data += more
    return data


def elapsed(what: Callable[[], object]) -> float:
    begun = time.monotonic()
    what()
    return time.monotonic() - begun


def test_bytes_pass_unchanged_whatever_their_number(tcp: FaultProxy) -> None:
    sent = bytes(range(256)) * 8192
    with dial(tcp) as link:
        writer = threading.Thread(target=lambda: (link.sendall(sent), link.shutdown(1)))
        writer.start()
        received = receive(link, len(sent))
        writer.join()
        assert link.recv(1) == b""  # the end is passed on as well
    assert received == sent


def test_delay_holds_everything_back_in_both_directions_and_in_order(tcp: FaultProxy) -> None:
    tcp.delay = 0.1
    with dial(tcp) as link:

        def exchange() -> None:
            for number in range(50):
                link.sendall(bytes([number]))
            assert receive(link, 50) == bytes(range(50))

        assert 0.2 <= elapsed(exchange) < 5


def test_cut_resets_connections_and_refuses_others_until_resume(tcp: FaultProxy) -> None:
    with dial(tcp) as link:
        link.sendall(b"a")
        assert receive(link, 1) == b"a"
        tcp.cut_connections()
        with pytest.raises(ConnectionResetError):
            link.recv(1)
    with pytest.raises(ConnectionResetError), dial(tcp) as link:  # dialling may see it already
        link.recv(1)
    tcp.clear_faults()
    with dial(tcp) as link:
        link.sendall(b"c")
        assert receive(link, 1) == b"c"


@pytest.mark.parametrize("direction", ["up", "down", "both"])
def test_half_open_is_silence_on_a_standing_connection(tcp: FaultProxy, direction: str) -> None:
    with dial(tcp) as link:
        tcp.half_open(direction)  # type: ignore[arg-type]
        link.sendall(b"late")
        link.settimeout(0.2)
        with pytest.raises(TimeoutError):
            link.recv(1)
        link.settimeout(10)
        tcp.clear_faults()
        assert receive(link, 4) == b"late"


def test_without_a_server_the_client_is_reset() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # not listening
        with (
            FaultProxy("127.0.0.1", taken.getsockname()[1]) as proxy,
            pytest.raises(ConnectionResetError),
            dial(proxy) as link,
        ):
            link.recv(1)


def test_datagrams_pass_each_to_the_one_who_asked(udp: FaultProxy) -> None:
    with datagrams(udp) as one, datagrams(udp) as other:
        one.send(b"one")
        other.send(b"other")
        assert other.recv(100) == b"other"
        assert one.recv(100) == b"one"


def test_a_share_of_the_datagrams_is_lost_or_doubled(udp: FaultProxy) -> None:
    with datagrams(udp, 0.5) as link:

        def answers() -> int:
            for _ in range(40):  # four times that still fits into the sockets' buffers
                link.send(b"x")
            count = 0
            while True:
                try:
                    link.recv(10)
                except TimeoutError:
                    return count
                count += 1

        udp.drop = 0.3  # of each direction: half of them come back
        assert 5 <= answers() <= 35
        udp.drop = 1.0
        assert answers() == 0
        udp.clear_faults()
        udp.duplicate = 1.0
        assert answers() == 160
        udp.clear_faults()
        assert answers() == 40


def test_a_cut_or_half_open_line_loses_datagrams_for_good(udp: FaultProxy) -> None:
    with datagrams(udp, 0.2) as link:
        for fault in (udp.cut_connections, lambda: udp.half_open("down")):
            fault()
            lost = udp.lost_datagrams
            link.send(b"lost")
            with pytest.raises(TimeoutError):
                link.recv(10)
            # On a busy machine it may still be on its way, and would arrive once all is well.
            deadline = time.monotonic() + 30
            while udp.lost_datagrams == lost and time.monotonic() < deadline:
                time.sleep(0.01)
            assert udp.lost_datagrams == lost + 1
            udp.clear_faults()
            link.send(b"new")
            assert link.recv(10) == b"new"


def test_only_this_machine_and_known_kinds() -> None:
    with pytest.raises(RobotError, match="only loopback"):
        FaultProxy("127.0.0.1", 1, host="0.0.0.0")  # noqa: S104
    with pytest.raises(RobotError, match="tcp and udp are possible"):
        FaultProxy("127.0.0.1", 1, "icmp")  # type: ignore[arg-type]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with (
            pytest.raises(RobotError, match="cannot listen"),
            FaultProxy("127.0.0.1", 1, port=port),
        ):
            pass


class Still:
    metadata = {"policy": "still"}  # noqa: RUF012

    def infer(self, observation: dict) -> dict:
        return {"seen": observation["number"]}


def test_a_policy_client_gets_an_error_in_time_and_then_its_own_answers_again() -> None:
    with (
        PolicyServer(Still(), ServerConfig(port=0)) as server,
        FaultProxy("127.0.0.1", server.port) as proxy,
        PolicyClient(f"ws://127.0.0.1:{proxy.port}", timeout=5.0) as client,
    ):
        assert client.infer({"number": 1})["seen"] == 1
        proxy.half_open("down")
        with pytest.raises(ServingTimeoutError):
            client.infer({"number": 2}, timeout=0.2)
        proxy.clear_faults()
        assert client.infer({"number": 3})["seen"] == 3
        proxy.cut_connections()
        with pytest.raises(ServingError):
            client.infer({"number": 4}, timeout=0.2)
        proxy.clear_faults()
        assert client.infer({"number": 5})["seen"] == 5


def test_it_can_be_put_before_a_server_from_the_command_line(tcp: FaultProxy) -> None:
    command = [sys.executable, "-m", "robots.emulators.proxy", f"127.0.0.1:{tcp.port}"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()  # type: ignore[union-attr]
        port = int(line.partition(" ->")[0].rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=10) as link:
            link.sendall(b"through two")
            assert receive(link, 11) == b"through two"
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.communicate()
