"""An S3 and STS of the world's own (moto), over TLS, behind a check of each signature by botocore: only the keys given out are taken.

Usage: aws.py ADDRESS PORT. Beside the certificates of the world it writes `keys` (shell) and `session` (JSON of a credential process).
"""
import io
import json
import os
import secrets
import ssl
import sys
import urllib.parse

os.environ["S3_IGNORE_SUBDOMAIN_BUCKETNAME"] = "true"
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple

BASE, (ADDRESS, PORT) = os.environ["BASE"], sys.argv[1:]
LONG = Credentials("AKIA" + secrets.token_hex(8).upper(), secrets.token_urlsafe(30))
SESSION = Credentials("ASIA" + secrets.token_hex(8).upper(), secrets.token_urlsafe(30), secrets.token_urlsafe(300) + "==")
KNOWN = {one.access_key: one for one in (LONG, SESSION)}


def signature(environ, body):
    """The one that belongs there, and the one that came."""
    headers = {key[5:].replace("_", "-").lower(): value for key, value in environ.items() if key.startswith("HTTP_")}
    headers |= {key.replace("_", "-").lower(): environ[key] for key in ("CONTENT_TYPE", "CONTENT_LENGTH") if key in environ}
    url = f"https://{headers['host']}{environ['REQUEST_URI']}"
    query = dict(urllib.parse.parse_qsl(url.partition("?")[2], keep_blank_values=True))
    if "authorization" in headers:
        said = dict(part.strip().split("=", 1) for part in headers["authorization"].split(" ", 1)[1].split(","))
        credential, names, came = said["Credential"], said["SignedHeaders"], said["Signature"]
        date, token = headers["x-amz-date"], headers.get("x-amz-security-token")
    else:
        credential, names, came = (query["X-Amz-" + name] for name in ("Credential", "SignedHeaders", "Signature"))
        date, token = query["X-Amz-Date"], query.get("X-Amz-Security-Token")
        url = "&".join(part for part in url.split("&") if not part.startswith("X-Amz-Signature="))
    key, _, region, service, _ = credential.split("/")
    keys = KNOWN[key]
    if token != keys.token:
        raise KeyError("another token")
    kind = SigV4Auth if service != "s3" else S3SigV4Auth if "authorization" in headers else S3SigV4QueryAuth
    signed = {name: headers[name] for name in names.split(";")}
    request = AWSRequest(environ["REQUEST_METHOD"], url, headers=signed, data=body)
    request.context["timestamp"] = date
    own = kind(keys, service, region)
    return own.signature(own.string_to_sign(request, own.canonical_request(request)), request), came


def checked(app):
    def answer(environ, respond):
        body = b""
        if environ.get("HTTP_X_AMZ_CONTENT_SHA256") is None:
            body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            environ["wsgi.input"] = io.BytesIO(body)
        try:
            own, came = signature(environ, body)
        except KeyError as error:
            own, came = f"unknown {error}", None
        print("SIGNED" if own == came else f"WRONG {own} {came}", environ["REQUEST_METHOD"], environ["REQUEST_URI"], flush=True)
        if own == came:
            return app(environ, respond)
        respond("403 Forbidden", [("Content-Type", "text/xml")])
        return [b"<Error><Code>SignatureDoesNotMatch</Code></Error>"]

    return answer


with open(os.path.join(BASE, "session"), "w", encoding="ascii") as f:
    fields = {"AccessKeyId": SESSION.access_key, "SecretAccessKey": SESSION.secret_key, "SessionToken": SESSION.token}
    json.dump({"Version": 1, **fields, "Expiration": "2099-01-01T00:00:00+00:00"}, f, indent=1)
with open(os.path.join(BASE, "keys"), "w", encoding="ascii") as f:
    f.write(f"export AWS_ACCESS_KEY_ID={LONG.access_key} AWS_SECRET_ACCESS_KEY={LONG.secret_key}\n")
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(os.path.join(BASE, "server.pem"), os.path.join(BASE, "server.key"))
run_simple(ADDRESS, int(PORT), checked(DomainDispatcherApplication(create_backend_app)), threaded=True, ssl_context=context)
