"""A server that asks who is there: TLS with certificates of clients, from the world's own authority.

Usage: mutual.py DIRECTORY. It answers every request with the client's name, and notes both in DIRECTORY/mutual.log.
"""
import os
import sys

import served

BASE = sys.argv[1]


class Who(served.Answers):
    def do_GET(self):
        own = self.connection.getpeercert()
        names = [value for kind, value in own.get("subjectAltName", ()) if kind == "URI"]
        names += [value for part in own["subject"] for key, value in part if key == "commonName"]
        with open(os.path.join(BASE, "mutual.log"), "a", encoding="utf-8") as f:
            f.write(f"{names[0]} {own['serialNumber']} {self.path}\n")
        self.answer(f"you are {names[0]}\n")

    # Bodies are left unread: what is in one comes next, unless the connection ends.
    do_POST = do_GET


open(os.path.join(BASE, "mutual.log"), "a").close()
served.serve(BASE, "mutual", Who, asks=True)
