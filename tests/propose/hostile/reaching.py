"""Ways to reach somebody else: sockets of every kind."""

from __future__ import annotations

import socket

from tests.propose.hostile.kit import T, escape


@escape
def connect_by_tcp() -> None:
    socket.create_connection(("127.0.0.1", T["tcp"]), timeout=2).close()


@escape
def connect_by_tcp_over_ipv6() -> None:
    socket.create_connection(("::1", T["tcp6"]), timeout=2).close()


@escape
def send_by_udp() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        out.sendto(b"secret", ("127.0.0.1", T["udp"]))


@escape
def ask_a_name_server() -> None:
    question = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x06secret\x07example\x00\x00\x01\x00\x01"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        out.connect(("127.0.0.1", T["udp"]))
        out.send(question)


@escape
def look_a_name_up() -> None:
    socket.getaddrinfo("127.0.0.1", 80, flags=socket.AI_NUMERICHOST)
    connect_by_tcp()


@escape
def connect_to_a_socket_file() -> None:
    with socket.socket(socket.AF_UNIX) as out:
        out.connect(T["unix"])


@escape
def connect_to_an_abstract_socket() -> None:
    with socket.socket(socket.AF_UNIX) as out:
        out.connect("\0" + T["abstract"])


@escape
def send_from_a_pair_of_sockets() -> None:
    near, _ = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    near.sendto(b"secret", T["unix_datagram"])


@escape
def reconnect_a_pair_of_streams() -> None:
    near, _ = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    near.connect(T["unix"])


@escape
def listen_for_visitors() -> None:
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        door.listen()


@escape
def speak_to_the_kernel_by_netlink() -> None:
    socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0).close()


@escape
def sniff_packets() -> None:
    socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close()


@escape
def send_raw_packets() -> None:
    socket.socket(socket.AF_INET, socket.SOCK_RAW, 1).close()


@escape
def speak_to_the_machine_below() -> None:
    socket.socket(40, socket.SOCK_STREAM).close()


@escape
def encrypt_by_the_kernel() -> None:
    socket.socket(38, socket.SOCK_SEQPACKET).close()
