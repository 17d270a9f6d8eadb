#!/bin/sh
# A first look from inside: real work goes through, everything else does not exist.
# Run it with: cargo run -q -p ringfence -- run -- sh examples/first-run.sh
say() { printf '\n== %s\n' "$1"; }
try() { printf '$ %s\n' "$*"; sh -c "$*" 2>&1 | tail -4 | sed 's/^/  /'; }

say "real work: a file is written, compiled and run in the workspace"
printf '#include <stdio.h>\nint main(void) { puts("hello from inside"); return 0; }\n' > first-run.c
try "cc -o first-run first-run.c && ./first-run"
try "git status --short first-run.c"

say "who am I here? nobody in particular, without any privilege"
try "id; grep -E 'NoNewPrivs|CapEff|Seccomp:' /proc/self/status"

say "what was not granted is not there"
try "ls -A ~"
try "cat /etc/shadow"
try "ls /home /root /var/log"

say "what was granted for reading cannot be written"
try "touch /usr/bin/evil"

say "there is no network yet, and no process but my own"
try "python3 -c 'import socket; socket.create_connection((\"192.0.2.1\", 443), 2)'"
try "ls -d /proc/[0-9]*"

say "and the workspace itself has not changed: see \`ringfence diff --stat\` outside"
