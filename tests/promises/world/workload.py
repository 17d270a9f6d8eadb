"""SPIFFE's Workload API on a unix socket, as its specification has it: JWT-SVIDs of two identities, by a real server of gRPC.

Usage: workload.py SOCKET DIRECTORY. Each token is noted in DIRECTORY/svids.log, and the last one is the one that `/guarded` expects.
"""
import base64
import json
import os
import secrets
import sys
import time
from concurrent import futures

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

SOCKET, BASE = sys.argv[1:]
IDS = ["spiffe://world.example/first", "spiffe://world.example/second"]
FIELD = descriptor_pb2.FieldDescriptorProto


def messages():
    """The three messages of workload.proto."""
    file = descriptor_pb2.FileDescriptorProto(name="workload.proto", syntax="proto3")

    def message(name, *fields):
        made = file.message_type.add(name=name)
        for field, number, kind, label, of in fields:
            made.field.add(name=field, number=number, type=kind, label=label, type_name=of)

    one, many, text, inner = FIELD.LABEL_OPTIONAL, FIELD.LABEL_REPEATED, FIELD.TYPE_STRING, FIELD.TYPE_MESSAGE
    message("JWTSVIDRequest", ("audience", 1, text, many, None), ("spiffe_id", 2, text, one, None))
    message("JWTSVID", ("spiffe_id", 1, text, one, None), ("svid", 2, text, one, None), ("hint", 3, text, one, None))
    message("JWTSVIDResponse", ("svids", 1, inner, many, ".JWTSVID"))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    names = ("JWTSVIDRequest", "JWTSVID", "JWTSVIDResponse")
    return [message_factory.GetMessageClass(pool.FindMessageTypeByName(name)) for name in names]


REQUEST, SVID, RESPONSE = messages()


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


handler = grpc.unary_unary_rpc_method_handler(fetch, request_deserializer=REQUEST.FromString, response_serializer=RESPONSE.SerializeToString)
server = grpc.server(futures.ThreadPoolExecutor(4))
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("SpiffeWorkloadAPI", {"FetchJWTSVID": handler}),))
server.add_insecure_port("unix:" + SOCKET)
server.start()
server.wait_for_termination()
