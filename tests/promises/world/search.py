"""Searches everything of a process and its descendants for secrets, as they are, in base64, hex, UTF-16 and reversed: search.py PID SECRET...
Prints whose memory holds one."""
import base64
import os
import re
import sys

root, FORMS = int(sys.argv[1]), []
for text in sys.argv[2:]:
    secret = text.encode()
    FORMS += [secret, secret.hex().encode(), secret[::-1], text.encode("utf-16-le")]
    # Of base64, what does not depend on the neighbours.
    FORMS += [base64.b64encode(bytes(before) + secret)[4 if before else 0 : -4] for before in range(3)]
LONGEST = max(map(len, FORMS))


def read(path):
    try:
        with open(path, "rb") as f:
            return f.read()
    except OSError:
        return b""


def tree():
    parents = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        stat = read(f"/proc/{name}/stat").rpartition(b")")[2].split()
        if stat:
            parents[int(name)] = int(stat[1])
    found, grown = {root}, True
    while grown:
        more = {pid for pid, parent in parents.items() if parent in found} - found
        found |= more
        grown = bool(more)
    return found


def memory(pid):
    """How often it is in memory, or None where that cannot be read; how many bytes were read."""
    count, size = 0, 0
    try:
        mem = open(f"/proc/{pid}/mem", "rb", buffering=0)
    except OSError:
        return None, 0
    with mem:
        for line in read(f"/proc/{pid}/maps").decode(errors="replace").splitlines():
            start, end, mode = re.match(r"(\w+)-(\w+) (\S+)", line).groups()
            at, end = int(start, 16), int(end, 16)
            if mode[0] != "r" or "[v" in line:
                continue
            before = b""
            while at < end:
                try:
                    mem.seek(at)
                    part = mem.read(min(1 << 22, end - at))
                except (OSError, OverflowError, ValueError):
                    break
                if not part:
                    break
                count += sum((before + part).count(form) for form in FORMS)
                size += len(part)
                before = part[-LONGEST + 1 :]
                at += len(part)
    return count, size


for pid in sorted(tree()):
    name = read(f"/proc/{pid}/comm").decode().strip()
    shown = b"".join(read(f"/proc/{pid}/{part}") for part in ("environ", "cmdline"))
    count, size = memory(pid)
    print("process", name, "unreadable" if count is None else f"memory={count} of={size}", f"shown={sum(map(shown.count, FORMS))}")
