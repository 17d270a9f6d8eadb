"""A server that counts its connections and the requests on each.

Usage: kept.py DIRECTORY. It answers with both numbers. Behind a request for /repo/trap, the next one on that connection gets no answer.
"""
import itertools
import sys

import served

numbers = itertools.count(1)


class Counts(served.Answers):
    def setup(self):
        super().setup()
        self.number, self.requests, self.trap = next(numbers), 0, False

    def do_GET(self):
        self.requests += 1
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.trap:
            self.close_connection = True
            return
        self.trap = self.path == "/repo/trap"
        self.answer(f"{self.command} {self.number}.{self.requests}\n")

    do_POST = do_GET


served.serve(sys.argv[1], "kept", Counts)
