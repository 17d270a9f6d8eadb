"""What small servers of a test's own have in common: TLS with the world's certificate at 203.0.113.10:8443, and answers with a length."""
import os
import ssl
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, text):
        body = text.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def serve(base, name, handler, asks=False):
    """Until it is killed; it is up once BASE/NAME.ready is there. `asks`: for a certificate of the world's authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(os.path.join(base, "server.pem"), os.path.join(base, "server.key"))
    if asks:
        context.load_verify_locations(os.path.join(base, "ca.pem"))
        context.verify_mode = ssl.CERT_REQUIRED
    server = ThreadingHTTPServer(("203.0.113.10", 8443), handler)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    open(os.path.join(base, f"{name}.ready"), "w").close()
    server.serve_forever()
