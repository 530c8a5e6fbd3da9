"""A short load; soak_server.py is the long one."""

import asyncio

from server import serving
from soak_server import check, run


def test_load(chat_model):
    with serving(chat_model, "--max-seq-len", 512, "--max-concurrent", 8, "--kv-tokens", 768) as server:
        report = asyncio.run(run(server, streams=48, seconds=12))
        check(report)
        assert report["preempted"] > 0, report  # the pages were few enough to matter
        assert server.stop() == 0
