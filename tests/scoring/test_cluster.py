"""Where a cohort is scored."""

from __future__ import annotations

import os

import psutil

from wsi_idc.scoring.cluster import connect


def test_nothing_can_be_reached_from_other_machines() -> None:
    """Dask opens ports for dashboards on all addresses, asked for or not."""
    with connect() as client:
        assert client.submit(lambda: 1).result() == 1
        listening = [
            connection.laddr.ip
            for connection in psutil.Process(os.getpid()).net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        ]
    assert set(listening) <= {"127.0.0.1"}
