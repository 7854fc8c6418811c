"""An S3 server for tests: moto behind a lock, which makes its conditional writes atomic.

Usage: s3.py PORT. While the file FLAG (second argument) exists, every request is answered with 503.
"""

import os
import sys
import threading

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple

application = DomainDispatcherApplication(create_backend_app)
lock = threading.Lock()
port, flag = int(sys.argv[1]), sys.argv[2]


def locked(environ, start_response):
    if os.path.exists(flag):
        start_response("503 Service Unavailable", [("Content-Length", "0")])
        return [b""]
    with lock:
        return [b"".join(application(environ, start_response))]


run_simple("127.0.0.1", port, locked, threaded=True)
