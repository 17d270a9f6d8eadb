"""Questions for names that no resolver of a C library asks: other characters, classes and kinds."""
import socket
import struct
import sys

server = next(line.split()[1] for line in open("/etc/resolv.conf") if line.startswith("nameserver"))


def ask(labels, kind=1, net=1):
    name = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
    packet = struct.pack(">6H", 7, 0x0100, 1, 0, 0, 0) + name + struct.pack(">2H", kind, net)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.settimeout(2)
        asker.sendto(packet, (server, 53))
        try:
            asker.recv(512)
        except OSError:
            pass


own = [label.encode() for label in sys.argv[1].split(".")]
for rest in ([b"wild", b"example"], [b"other", b"example"]):
    ask([*own, b"=", *rest])
    ask([*own, b"a b", *rest])
    ask(own + rest, net=3)
    ask(own + rest, kind=16)
    ask(own + rest, kind=12)
ask([*own, b"in-addr", b"arpa"], kind=12)
