"""Sends what a system has of headers and modules to a host, a request each, as ordinary work would: prints how many went, and which did not."""
import os
import sys

from clients import ask

sent, bytes_sent, refused = 0, 0, []
for place in ("/usr/include", "/usr/lib/python3"):
    own = 0
    for directory, names, files in os.walk(place):
        names.sort()
        for name in sorted(files):
            path = os.path.join(directory, name)
            if own > 6 << 20 or not os.path.isfile(path):
                continue
            with open(path, "rb") as file:
                text = file.read(1 << 18)
            sent, own, bytes_sent = sent + 1, own + len(text), bytes_sent + len(text)
            if not ask("POST", f"/repo/{len(text)}", text, {"X-Name": name}):
                refused.append(path)
print(sent, bytes_sent, refused)
sys.stdout.flush()
