"""A real object store on the loopback address, behind a proxy that breaks what it carries."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.io.faulty import Faulty

SECRET = "s3cr3tT0ken"


@pytest.fixture(scope="module")
def server() -> Iterator[int]:
    moto_server = pytest.importorskip("moto.server")
    running = moto_server.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    running.start()
    yield running.get_host_and_port()[1]
    running.stop()


@pytest.fixture
def bucket(server: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A bucket ``slides`` behind the proxy: the client that fills it, and the proxy."""
    fsspec, boto3 = pytest.importorskip("fsspec"), pytest.importorskip("boto3")
    proxy = Faulty(server)
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    for name, value in (
        ("AWS_ACCESS_KEY_ID", "testing"),
        ("AWS_SECRET_ACCESS_KEY", SECRET),
        ("AWS_DEFAULT_REGION", "us-east-1"),
        ("AWS_ENDPOINT_URL", f"http://127.0.0.1:{proxy.server_port}"),
    ):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("wsi_idc.io.stores._FIRST_PAUSE_S", 0.01)
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{server}")
    client.create_bucket(Bucket="slides")
    yield client, proxy
    for one in client.list_objects_v2(Bucket="slides").get("Contents", []):
        client.delete_object(Bucket="slides", Key=one["Key"])
    proxy.shutdown()
    proxy.server_close()
