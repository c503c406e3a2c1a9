"""How messages of ROS 2 travel without ROS: over DDS, and over Zenoh.

A topic `/joint_states` is called

- `rt/joint_states` over DDS, its type `sensor_msgs::msg::dds_::JointState_`: what every middleware
  of ROS 2 that is built on DDS does;
- `joint_states` over Zenoh, the plain key of zenoh-bridge-ros2dds. The keys of rmw_zenoh (domain,
  type name, type hash, and an attachment to every sample) are another scheme, not spoken here.
"""

from __future__ import annotations

import json
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar
from weakref import WeakValueDictionary

from embodied.extras import require_extra
from robots.errors import DeviceError

with require_extra("An arm behind ROS 2"):
    from cyclonedds.core import (
        DDSException,
        GuardCondition,
        InstanceState,
        ReadCondition,
        SampleState,
        ViewState,
        WaitSet,
    )
    from cyclonedds.domain import Domain, DomainParticipant
    from cyclonedds.idl import IdlStruct
    from cyclonedds.pub import DataWriter
    from cyclonedds.qos import Policy, Qos
    from cyclonedds.sub import DataReader
    from cyclonedds.topic import Topic
    from cyclonedds.util import duration

M = TypeVar("M", bound=IdlStruct)
Receive = Callable[[M | DeviceError], None]  # a message, or why what came cannot be read


class Ros2Publisher(Protocol):
    """One topic to send on."""

    def publish(self, message: IdlStruct) -> None:
        """Send without waiting for anybody. Raises DeviceError."""
        ...

    def has_subscribers(self) -> bool:
        """Return whether anybody is known to subscribe."""
        ...


class Ros2Link(Protocol):
    """A connection to the others. Topics are ROS names such as `/joint_states`."""

    def create_publisher(self, topic: str, kind: type[IdlStruct]) -> Ros2Publisher:
        """Announce a topic to send on. Raises DeviceError."""
        ...

    def subscribe(
        self, topic: str, kind: type[M], receive: Receive[M], reliable: bool = False
    ) -> None:
        """Have `receive` called, in a thread of the link's, with what arrives.

        `reliable`: DDS only: have lost messages repeated; hears publishers that are reliable only.
        Raises DeviceError.
        """
        ...

    def close(self) -> None:
        """End it. Safe to call twice."""
        ...


def open_link(
    transport: str,
    domain: int = 0,
    interface: str = "127.0.0.1",
    connect: tuple[str, ...] = (),
    listen: tuple[str, ...] = (),
) -> Ros2Link:
    """Join the others over a transport.

    Args:
        transport: "dds" or "zenoh".
        domain: DDS only: ROS_DOMAIN_ID of the others.
        interface: DDS only: address of the one network interface to use; "" leaves the choice to
            CYCLONEDDS_URI, as ROS does.
        connect: Zenoh only: endpoints to dial, such as "tcp/127.0.0.1:7447".
        listen: Zenoh only: endpoints to be dialled at.

    Raises:
        DeviceError: the interface, domain or endpoint cannot be used.
        MissingExtraError: the transport's package is not installed.
    """
    if transport == "zenoh":
        return _ZenohLink(connect, listen)
    return _DdsLink(domain, interface)


# Cyclone DDS configures a domain once per process, and ends it with its Python object.
_DOMAINS: WeakValueDictionary[tuple[int, str], Domain] = WeakValueDictionary()


def _domain(number: int, interface: str) -> Domain | None:
    if not interface:
        return None
    if (number, interface) not in _DOMAINS:
        # On loopback, ROS 2 finds others by multicast (Humble's ROS_LOCALHOST_ONLY) or by unicast
        # to known ports (Iron's ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST): do both.
        finding = (
            "<Discovery><ParticipantIndex>auto</ParticipantIndex>"
            "<MaxAutoParticipantIndex>32</MaxAutoParticipantIndex>"
            f'<Peers><Peer address="{interface}"/></Peers></Discovery>'
        )
        made = Domain(
            number,
            "<CycloneDDS><Domain><General><Interfaces>"
            f'<NetworkInterface address="{interface}"/></Interfaces></General>'
            f"{finding if interface.startswith('127.') else ''}</Domain></CycloneDDS>",
        )
        _DOMAINS[number, interface] = made
        return made
    return _DOMAINS[number, interface]


@contextmanager
def _explained(doing: str, error: type[Exception], remedy: str) -> Iterator[None]:
    try:
        yield
    except error as cause:
        raise DeviceError(f"{doing} failed: {cause}. {remedy}") from cause


def _read(kind: type[M], topic: str, decode: Callable[[], list[Any]]) -> list[M | DeviceError]:
    try:
        return decode()
    except (ValueError, TypeError, IndexError, struct.error) as error:
        return [DeviceError(f"{topic} carries what is no {kind.__name__}: {error}")]


class _DdsLink:
    """Cyclone DDS, with the qualities of service that ROS 2 topics have or match.

    Publishers are reliable and volatile, as rclcpp's are, so any subscription matches them. The
    newest state is worth more than every state, and a reader content with best effort matches
    reliable and best-effort publishers alike.
    """

    _newest = Qos(
        Policy.Reliability.BestEffort, Policy.Durability.Volatile, Policy.History.KeepLast(1)
    )
    # The time is how long a sender may wait for a reader that is behind.
    _sure = Qos(
        Policy.Reliability.Reliable(duration(milliseconds=5)),
        Policy.Durability.Volatile,
        Policy.History.KeepLast(1),
        Policy.DataRepresentation(use_cdrv0_representation=True),
    )

    def __init__(self, domain: int, interface: str) -> None:
        self._where = f"DDS domain {domain} on {interface or 'the interface of CYCLONEDDS_URI'}"
        remedy = "Is that interface up, and the domain not used otherwise in this process?"
        with _explained(f"joining {self._where}", DDSException, remedy):
            self._domain = _domain(domain, interface)
            self._participant = DomainParticipant(domain)
            self._closing = GuardCondition(self._participant)
        self._threads: list[threading.Thread] = []
        self._open = True

    def create_publisher(self, topic: str, kind: type[IdlStruct]) -> Ros2Publisher:
        with _explained(f"publishing {topic} in {self._where}", DDSException, ""):
            named = Topic(self._participant, f"rt{topic}", kind)
            return _DdsPublisher(DataWriter(self._participant, named, qos=self._sure), topic)

    def subscribe(
        self, topic: str, kind: type[M], receive: Receive[M], reliable: bool = False
    ) -> None:
        with _explained(f"subscribing to {topic} in {self._where}", DDSException, ""):
            named = Topic(self._participant, f"rt{topic}", kind)
            qos = self._sure if reliable else self._newest
            reader = DataReader(self._participant, named, qos=qos)
            anything = ViewState.Any | InstanceState.Any | SampleState.NotRead
            wakes = WaitSet(self._participant)
            wakes.attach(ReadCondition(reader, anything))
            wakes.attach(self._closing)

        def listen() -> None:
            while not self._closing.read():
                wakes.wait(duration(seconds=1))
                for message in _read(kind, topic, lambda: list(reader.take(8))):
                    if isinstance(message, kind | DeviceError):
                        receive(message)

        thread = threading.Thread(target=listen, name=f"dds {topic}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def close(self) -> None:
        if self._open:
            self._open = False
            self._closing.set(True)
            for thread in self._threads:
                thread.join()
            # Entities end with their last reference.
            self._threads.clear()
            del self._closing, self._participant, self._domain


class _DdsPublisher:
    def __init__(self, writer: DataWriter[Any], topic: str) -> None:
        self._writer, self._topic = writer, topic

    def publish(self, message: IdlStruct) -> None:
        with _explained(f"sending on {self._topic}", DDSException, "Is the controller stuck?"):
            self._writer.write(message)

    def has_subscribers(self) -> bool:
        with _explained(f"asking who hears {self._topic}", DDSException, "Connect again."):
            return bool(self._writer.get_matched_subscriptions())


class _ZenohLink:
    """A Zenoh peer that knows the given endpoints only: no scouting, no gossip."""

    def __init__(self, connect: tuple[str, ...], listen: tuple[str, ...]) -> None:
        with require_extra("A ROS 2 arm over Zenoh"):
            import zenoh
        self._zenoh = zenoh
        config = zenoh.Config()
        for key, value in {
            "mode": "peer",
            "connect/endpoints": connect,
            "listen/endpoints": listen,
            "scouting/multicast/enabled": False,
            "scouting/gossip/enabled": False,
        }.items():
            config.insert_json5(key, json.dumps(value))
        where = f"connecting to {list(connect)} and listening at {list(listen)}"
        with _explained(where, zenoh.ZError, 'Endpoints read like "tcp/127.0.0.1:7447".'):
            self._session = zenoh.open(config)

    def create_publisher(self, topic: str, kind: type[IdlStruct]) -> Ros2Publisher:
        zenoh = self._zenoh
        with _explained(f"publishing {topic} over Zenoh", zenoh.ZError, ""):
            made = self._session.declare_publisher(
                topic.lstrip("/"),
                # An old setpoint is worth nothing: rather lose it than wait.
                congestion_control=zenoh.CongestionControl.DROP,
                priority=zenoh.Priority.REAL_TIME,
                express=True,
            )
        return _ZenohPublisher(made, topic, zenoh.ZError)

    def subscribe(
        self, topic: str, kind: type[M], receive: Receive[M], reliable: bool = False
    ) -> None:
        def arrived(sample: Any) -> None:
            payload = sample.payload.to_bytes()
            for message in _read(kind, topic, lambda: [kind.deserialize(payload)]):
                receive(message)

        # Called by the receiving thread itself. The thread that is started otherwise ends with the
        # session only, and the interpreter waits for it: a program that failed would never end.
        direct = self._zenoh.handlers.Callback(arrived, indirect=False)
        with _explained(f"subscribing to {topic} over Zenoh", self._zenoh.ZError, ""):
            self._session.declare_subscriber(topic.lstrip("/"), direct)

    def close(self) -> None:
        if not self._session.is_closed():
            self._session.close()


class _ZenohPublisher:
    def __init__(self, publisher: Any, topic: str, error: type[Exception]) -> None:
        self._publisher, self._topic, self._error = publisher, topic, error

    def publish(self, message: IdlStruct) -> None:
        with _explained(f"sending on {self._topic}", self._error, "Connect again."):
            self._publisher.put(message.serialize(use_version_2=False))

    def has_subscribers(self) -> bool:
        with _explained(f"asking who hears {self._topic}", self._error, "Connect again."):
            return bool(self._publisher.matching_status.matching)
