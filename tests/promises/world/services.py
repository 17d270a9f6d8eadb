"""Servers that want a secret: git over https (git-http-backend(1)), and streaming APIs of two kinds. Each checks what it got."""
import base64
import hashlib
import json
import os
import secrets
import subprocess
import time
from urllib.parse import parse_qs, quote


def expected(base):
    with open(os.path.join(base, "expected"), encoding="ascii") as f:
        return f.read().strip()


def body(web):
    if web.headers.get("Transfer-Encoding", "").lower() != "chunked":
        return web.rfile.read(int(web.headers.get("Content-Length") or 0))
    parts = []
    while size := int(web.rfile.readline().split(b";")[0], 16):
        parts.append(web.rfile.read(size))
        web.rfile.readline()
    web.rfile.readline()
    return b"".join(parts)


def git(web, base):
    """Fetch and push, for whoever has the secret as a password."""
    data = body(web)
    good = "Basic " + base64.b64encode(f"x-access-token:{expected(base)}".encode()).decode()
    if web.headers.get("Authorization") != good:
        web.send_response(401)
        web.send_header("WWW-Authenticate", 'Basic realm="git"')
        web.send_header("Content-Length", "0")
        return web.end_headers()
    path, _, query = web.path.partition("?")
    variables = {
        "GIT_PROJECT_ROOT": base,
        "GIT_HTTP_EXPORT_ALL": "1",
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "safe.directory",
        "GIT_CONFIG_VALUE_0": "*",
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "REQUEST_METHOD": web.command,
        "REMOTE_USER": "x-access-token",
        "CONTENT_TYPE": web.headers.get("Content-Type", ""),
        "CONTENT_LENGTH": str(len(data)),
        "HTTP_CONTENT_ENCODING": web.headers.get("Content-Encoding", ""),
        "GIT_PROTOCOL": web.headers.get("Git-Protocol", ""),
        "PATH": os.environ["PATH"],
    }
    done = subprocess.run(["git", "http-backend"], input=data, env=variables, capture_output=True, check=False)
    head, _, answer = done.stdout.partition(b"\r\n\r\n")
    fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line)
    web.send_response(int(fields.pop("Status", "200 OK").split()[0]))
    for name, value in fields.items():
        web.send_header(name, value)
    web.send_header("Content-Length", str(len(answer)))
    web.end_headers()
    web.wfile.write(answer)


def token(web, base):
    """Tokens of OAuth 2.0 for a client that has the secret, an assertion or something to exchange; each makes the one before void."""
    form = {name: values[0] for name, values in parse_qs(body(web).decode()).items()}

    def read(name):
        with open(os.path.join(base, name), encoding="ascii") as f:
            return f.read().strip()

    pair = "Basic " + base64.b64encode(f"the%20client:{quote(read('client-secret'), safe='')}".encode()).decode()
    good = {
        "client_credentials": web.headers.get("Authorization") == pair or form.get("client_assertion") == read("projected/token"),
        "urn:ietf:params:oauth:grant-type:token-exchange": form.get("subject_token") == read("projected/token")
        and form.get("subject_token_type") == "urn:ietf:params:oauth:token-type:jwt"
        and form.get("audience") == "https://api.example/",
    }.get(form.get("grant_type"), False)
    with open(os.path.join(base, "tokens.log"), "a", encoding="ascii") as f:
        f.write(f"{'given' if good else 'refused'} {form.get('scope')}\n")
    if not good:
        said = json.dumps({"error": "invalid_client", "error_description": f"not {web.headers.get('Authorization')} {form}"})
        return web.reply(said.encode(), 401)
    made = secrets.token_urlsafe(30)
    with open(os.path.join(base, "token." + form["scope"]), "w", encoding="ascii") as f:
        f.write(made)
    lasts = {"short": 6}.get(form["scope"], 3600)
    web.reply(json.dumps({"access_token": made, "token_type": "Bearer", "expires_in": lasts}).encode())


def api(web, base):
    """Answers whoever has the newest token of that scope, and reflects it."""
    with open(os.path.join(base, "token." + web.path.rsplit("/", 1)[-1]), encoding="ascii") as f:
        good = web.headers.get("Authorization") == f"Bearer {f.read()}"
    web.reply(f"{'good' if good else 'bad'} {web.headers.get('Authorization')}\n".encode(), 200 if good else 401)


def stream(web, base):
    """Words that come one by one, as server-sent events, for whoever has the secret."""
    asked = json.loads(body(web))
    two = web.path == "/v1/messages"
    secret = expected(base)
    sent = {web.headers.get("Authorization", f"Bearer {secret}"), "Bearer " + web.headers.get("X-Api-Key", secret)}
    good = sent == {f"Bearer {secret}"} and ("Authorization" in web.headers or two and "X-Api-Key" in web.headers)
    if not good or not asked.get("stream"):
        return web.reply(b'{"error": {"message": "no"}}', 401)
    web.send_response(200)
    web.send_header("Content-Type", "text/event-stream")
    web.send_header("Transfer-Encoding", "chunked")
    web.end_headers()

    def send(kind, data):
        text = (f"event: {kind}\n" if two else "") + "data: " + (data if isinstance(data, str) else json.dumps(data)) + "\n\n"
        web.wfile.write(b"%x\r\n%s\r\n" % (len(text), text.encode()))
        web.wfile.flush()

    words = ["first ", "second ", "third ", f"key {secret} end"]
    if two:
        usage = {"input_tokens": 1, "output_tokens": 1}
        message = {"id": "m", "type": "message", "role": "assistant", "content": [], "model": "m", "stop_reason": None, "stop_sequence": None}
        send("message_start", {"type": "message_start", "message": message | {"usage": usage}})
        send("content_block_start", {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}})
    for word in words:
        if two:
            send("content_block_delta", {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": word}})
        else:
            choice = {"index": 0, "delta": {"role": "assistant", "content": word}, "finish_reason": None}
            send("", {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]})
        time.sleep(0.25)
    if two:
        send("content_block_stop", {"type": "content_block_stop", "index": 0})
        send("message_delta", {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": {"output_tokens": 1}})
        send("message_stop", {"type": "message_stop"})
    else:
        send("", "[DONE]")
    web.wfile.write(b"0\r\n\r\n")


def allowed(web, base, scheme):
    """Whether it is asked by whoever has the secret; else it is told to come with it."""
    if web.headers.get("Authorization") == scheme + expected(base):
        return True
    web.reply(b'{"errors": [{"detail": "no"}]}', 401)
    return False


def cargo(web, base):
    """A registry of crates that takes nobody without the secret (the registry index and web API of Cargo's book)."""
    data = body(web)
    if not allowed(web, base, ""):
        return None
    index = os.path.join(base, "index.jsonl")
    if web.path == "/crates/config.json":
        place = "https://allowed.example/crates"
        return web.reply(json.dumps({"dl": place + "/dl", "api": place, "auth-required": True}).encode())
    if web.path == "/crates/api/v1/crates/new" and web.command == "PUT":
        size = int.from_bytes(data[:4], "little")
        about, package = json.loads(data[4 : 4 + size]), data[8 + size :]
        line = {"name": about["name"], "vers": about["vers"], "deps": [], "features": {}, "yanked": False}
        with open(index, "a", encoding="ascii") as f:
            f.write(json.dumps(line | {"cksum": hashlib.sha256(package).hexdigest()}) + "\n")
        return web.reply(b'{"warnings": {"invalid_categories": [], "invalid_badges": [], "other": []}}')
    if not os.path.exists(index):
        return web.reply(b"", 404)
    with open(index, "rb") as f:
        return web.reply(f.read())


def npm(web, base):
    """A registry of packages of npm, which takes those of whoever has the secret."""
    data = body(web)
    if web.command != "PUT":
        return web.reply(b"{}", 404)
    if not allowed(web, base, "Bearer "):
        return None
    about = json.loads(data)
    with open(os.path.join(base, "packages.log"), "a", encoding="ascii") as f:
        f.write(" ".join([about["_id"], *about["versions"], *about["_attachments"]]) + "\n")
    return web.reply(b'{"ok": true}', 201)


def realm(web, base):
    """Tokens for a registry of images, as its specification has them, for whoever has the secret as a password."""
    good = "Basic " + base64.b64encode(f"pusher:{expected(base)}".encode()).decode()
    if web.headers.get("Authorization") != good:
        return web.reply(b'{"details": "incorrect username or password"}', 401)
    query = parse_qs(web.path.partition("?")[2])
    access = []
    for scope in query.get("scope", []):
        kind, name, actions = scope.split(":")
        access.append({"type": kind, "name": name, "actions": actions.split(",")})
    now = int(time.time())
    claims = {"iss": "world", "sub": "pusher", "aud": query["service"][0], "exp": now + 300, "nbf": now - 9, "iat": now, "jti": secrets.token_hex(8)}
    pem = open(os.path.join(base, "server.pem"), encoding="ascii").read()
    head = {"typ": "JWT", "alg": "ES256", "x5c": ["".join(pem.split("-----")[2].split())]}

    def part(data):
        return base64.urlsafe_b64encode(data).rstrip(b"=")

    text = b".".join(part(json.dumps(one).encode()) for one in (head, claims | {"access": access}))
    sign = ["openssl", "dgst", "-sha256", "-sign", os.path.join(base, "server.key")]
    made = subprocess.run(sign, input=text, capture_output=True, check=True).stdout
    # Two numbers of DER, as JWS wants them.
    numbers, at = [], 2
    while at < len(made):
        numbers.append(made[at + 2 : at + 2 + made[at + 1]].lstrip(b"\0").rjust(32, b"\0"))
        at += 2 + made[at + 1]
    token = (text + b"." + part(b"".join(numbers))).decode()
    with open(os.path.join(base, "issued.log"), "a", encoding="ascii") as f:
        f.write(token + "\n")
    answer = json.dumps({"token": token, "access_token": token, "expires_in": 300}).encode()
    web.send_response(200)
    web.send_header("Content-Type", "application/json")
    web.send_header("Content-Length", str(len(answer)))
    web.end_headers()
    web.wfile.write(answer)
