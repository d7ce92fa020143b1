"""A web server behind the balancer, for its tests: says who it is and what reached it; `touch /sick` makes it unhealthy.

The answer is JSON: name, bytes received, headers, and the paths of the health checks so far.
"""

import http.server
import json
import os
import sys

CHECKS = []


class Target(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        is_check = self.headers["User-Agent"] == "ELB-HealthChecker/2.0"
        if is_check:
            CHECKS.append(self.path)
        left = length = int(self.headers["Content-Length"] or 0)
        while left:
            data = self.rfile.read1(min(left, 65536))
            if not data:
                return
            left -= len(data)
        answer = {"name": sys.argv[1], "received": length, "headers": dict(self.headers), "checks": CHECKS}
        body = json.dumps(answer).encode()
        self.send_response(503 if is_check and os.path.exists("/sick") else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128


Server(("", 80), Target).serve_forever()
