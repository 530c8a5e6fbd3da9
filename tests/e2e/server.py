"""Starts imp-server on a free port and stops it again."""

import re
import signal
import subprocess
import threading
from contextlib import contextmanager

from conftest import BUILD


class RunningServer:
    def __init__(self, process, port, log):
        self.process, self.port, self.log = process, port, log
        self.url = f"http://127.0.0.1:{port}"

    def stop(self, number=signal.SIGTERM, timeout=60):
        self.process.send_signal(number)
        return self.process.wait(timeout=timeout)


@contextmanager
def serving(model, *arguments):
    """A server of `model`; its standard error is collected in .log."""
    command = [BUILD / "bin/imp-server", "--model", str(model), "--port", "0", *map(str, arguments)]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    log, port = [], None
    for line in process.stderr:
        log.append(line)
        if found := re.search(r" on http://[^ ]*:(\d+)", line):
            port = int(found.group(1))
            break
    assert port, f"the server did not start: {''.join(log)}"
    reader = threading.Thread(target=lambda: log.extend(process.stderr), daemon=True)
    reader.start()
    try:
        yield RunningServer(process, port, log)
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
