"""SPIFFE's Workload API on a unix socket, as its specification has it: SVIDs of two identities, by a real server of gRPC.

Usage: workload.py SOCKET DIRECTORY. Each token is noted in DIRECTORY/svids.log, and the last one is the one that `/guarded` expects. Certificates are of the authority in DIRECTORY, and noted likewise.
"""
import base64
import datetime
import json
import os
import secrets
import sys
import time
from concurrent import futures

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

SOCKET, BASE = sys.argv[1:]
IDS = ["spiffe://world.example/first", "spiffe://world.example/second"]
FIELD = descriptor_pb2.FieldDescriptorProto


def messages():
    """Messages of workload.proto."""
    file = descriptor_pb2.FileDescriptorProto(name="workload.proto", syntax="proto3")

    def message(name, *fields):
        made = file.message_type.add(name=name)
        for field, number, kind, label, of in fields:
            made.field.add(name=field, number=number, type=kind, label=label, type_name=of)

    one, many, text, inner = FIELD.LABEL_OPTIONAL, FIELD.LABEL_REPEATED, FIELD.TYPE_STRING, FIELD.TYPE_MESSAGE
    octets = FIELD.TYPE_BYTES
    message("JWTSVIDRequest", ("audience", 1, text, many, None), ("spiffe_id", 2, text, one, None))
    message("JWTSVID", ("spiffe_id", 1, text, one, None), ("svid", 2, text, one, None), ("hint", 3, text, one, None))
    message("JWTSVIDResponse", ("svids", 1, inner, many, ".JWTSVID"))
    message("X509SVIDRequest")
    parts = [(name, number, octets, one, None) for number, name in ((2, "x509_svid"), (3, "x509_svid_key"), (4, "bundle"))]
    message("X509SVID", ("spiffe_id", 1, text, one, None), *parts)
    message("X509SVIDResponse", ("svids", 1, inner, many, ".X509SVID"))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    names = ("JWTSVIDRequest", "JWTSVID", "JWTSVIDResponse", "X509SVIDRequest", "X509SVID", "X509SVIDResponse")
    return [message_factory.GetMessageClass(pool.FindMessageTypeByName(name)) for name in names]


REQUEST, SVID, RESPONSE, REQUEST2, SVID2, RESPONSE2 = messages()


def token(audience, own):
    """A JWT that is good for eight seconds."""

    def part(data):
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    claims = {"aud": list(audience), "sub": own, "exp": int(time.time()) + 8}
    made = ".".join([part(b'{"alg":"ES256","typ":"JWT"}'), part(json.dumps(claims).encode()), part(secrets.token_bytes(64))])
    with open(os.path.join(BASE, "svids.log"), "a", encoding="ascii") as f:
        f.write(f"{own} {' '.join(audience)} {made}\n")
    return made


def fetch(request, context):
    asked = dict(context.invocation_metadata())
    if asked.get("workload.spiffe.io") != "true":
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the security header is missing")
    if not request.audience:
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no audience")
    own = [one for one in IDS if request.spiffe_id in ("", one)]
    if not own:
        context.abort(grpc.StatusCode.PERMISSION_DENIED, "no identity issued")
    made = [token(request.audience, one) for one in own]
    with open(os.path.join(BASE, "expected.new"), "w", encoding="ascii") as f:
        f.write(made[0])
    os.rename(os.path.join(BASE, "expected.new"), os.path.join(BASE, "expected"))
    return RESPONSE(svids=[SVID(spiffe_id=one, svid=text, hint="x") for one, text in zip(own, made)])


def certificate(own):
    """In DER, with its key: good for eight seconds."""
    with open(os.path.join(BASE, "ca.pem"), "rb") as f:
        above = x509.load_pem_x509_certificate(f.read())
    with open(os.path.join(BASE, "ca.key"), "rb") as f:
        signs = serialization.load_pem_private_key(f.read(), None)
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.timezone.utc)
    made = x509.CertificateBuilder().subject_name(x509.Name([])).issuer_name(above.subject).public_key(key.public_key())
    made = made.serial_number(x509.random_serial_number()).not_valid_before(now).not_valid_after(now + datetime.timedelta(seconds=8))
    made = made.add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(own)]), True).sign(signs, hashes.SHA256())
    kind = serialization.Encoding.DER
    der = key.private_bytes(kind, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    with open(os.path.join(BASE, "svids.log"), "a", encoding="ascii") as f:
        f.write(f"{own} {base64.b64encode(der).decode()}\n")
    return SVID2(spiffe_id=own, x509_svid=made.public_bytes(kind) + above.public_bytes(kind), x509_svid_key=der)


def follow(_, context):
    """One message now; others would come with other certificates, until the client goes."""
    if dict(context.invocation_metadata()).get("workload.spiffe.io") != "true":
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the security header is missing")
    yield RESPONSE2(svids=[certificate(own) for own in IDS])
    while context.is_active():
        time.sleep(0.1)


handler = grpc.unary_unary_rpc_method_handler(fetch, request_deserializer=REQUEST.FromString, response_serializer=RESPONSE.SerializeToString)
stream = grpc.unary_stream_rpc_method_handler(follow, request_deserializer=REQUEST2.FromString, response_serializer=RESPONSE2.SerializeToString)
server = grpc.server(futures.ThreadPoolExecutor(4))
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("SpiffeWorkloadAPI", {"FetchJWTSVID": handler, "FetchX509SVID": stream}),))
server.add_insecure_port("unix:" + SOCKET)
server.start()
server.wait_for_termination()
