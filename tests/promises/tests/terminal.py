"""Runs a command on a pseudo-terminal: argv[1] is JSON {argv, steps, timeout}; prints JSON {out, status, ended}.

A step waits for a text in what came since the step before, and then sends a text, resizes, or closes the terminal.
"""
import fcntl, json, os, pty, select, struct, sys, termios, time

task = json.loads(sys.argv[1])


def resize(fd, rows, columns):
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


gate, opened = os.pipe()
pid, fd = pty.fork()
if pid == 0:
    os.close(opened)
    os.read(gate, 1)
    os.execvp(task["argv"][0], task["argv"])
os.close(gate)
resize(fd, 24, 80)
before = termios.tcgetattr(fd)
os.close(opened)
out, seen, closed, steps = b"", 0, False, list(task["steps"])
end = time.monotonic() + task["timeout"]
while time.monotonic() < end and not closed:
    if steps and steps[0][0].encode() in out[seen:]:
        wanted, action = steps.pop(0)
        seen = out.index(wanted.encode(), seen) + len(wanted.encode())
        time.sleep(0.15)
        if isinstance(action, str):
            os.write(fd, action.encode())
        elif "resize" in action:
            resize(fd, *action["resize"])
        else:
            os.close(fd)
            closed = True
            break
    if not select.select([fd], [], [], 0.05)[0]:
        continue
    try:
        data = os.read(fd, 65536)
    except OSError:
        break
    if not data:
        break
    out += data
same = closed or termios.tcgetattr(fd) == before
status, limit = None, time.monotonic() + 3
while status is None and time.monotonic() < limit:
    done, code = os.waitpid(pid, os.WNOHANG)
    status = os.waitstatus_to_exitcode(code) if done else None
    time.sleep(0.01)
if status is None:
    os.kill(pid, 9)
    os.waitpid(pid, 0)
print(json.dumps({"out": out.decode("utf-8", "replace"), "status": status, "left": steps, "same": same}))
