"""Plays a vLLM server for tests of its launcher: listens, serves what a launcher asks for, and ends as it is told."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import FrameType

MODELS = b'{"data": [{"id": "style", "parent": "mini"}, {"id": "mini", "parent": null, "max_model_len": 512}]}'
METRICS = b'# HELP x\nvllm:cache_config_info{block_size="16",num_gpu_blocks="99"} 1.0\n'
ANSWERS = {"/health": b"", "/v1/models": MODELS, "/metrics": METRICS}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(ANSWERS[self.path])

    def log_message(self, format: str, *args: object) -> None:
        pass


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--fail", action="store_true")
    parser.add_argument("--never", action="store_true")
    parser.add_argument("--deaf", action="store_true")
    told = parser.parse_args()
    print("INFO Resolved architecture: Fake", flush=True)
    if told.fail:
        print("ValueError: no such model", file=sys.stderr, flush=True)
        sys.exit(3)
    worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    print(f"worker {worker.pid}", flush=True)
    if told.deaf:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if told.never:
        time.sleep(600)
    server = ThreadingHTTPServer(("127.0.0.1", told.port), Handler)

    def end(number: int, _: FrameType | None) -> None:
        print("draining", flush=True)
        threading.Thread(target=server.shutdown).start()

    if not told.deaf:
        signal.signal(signal.SIGTERM, end)
    server.serve_forever()
    os._exit(0)  # and leaves its worker behind


if __name__ == "__main__":
    main()
