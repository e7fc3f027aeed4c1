"""The server of ``wsi-idc view``: who is let in, what is given out, and what is saved."""

from __future__ import annotations

import io
import json
import os
import shutil
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.plotting.conftest import make_source
from tests.plotting.results import THRESHOLD, add_slide
from tests.report.served import SIZE_PX, SLIDE, TOKEN, Client, add_raw_slide, pixels_of_slide, served, write_slide
from wsi_idc.errors import DataNotFoundError, OptionError
from wsi_idc.report.editing import Change, Editor
from wsi_idc.report.live import LiveResults
from wsi_idc.report.server import HOST, LONGEST_BODY, _listen, make_app, serving
from wsi_idc.report.tiles import TILE_PX, Shape
from wsi_idc.scoring.corrections import CORRECTIONS_FILE, Correction, read_corrections, write_corrections

PAINT = {"kind": "IDC", "boxes": [[400, 0, 400, 400]], "who": "Ada L.", "note": ""}
EVERYTHING = ["/", f"/{SLIDE}/report.js", f"/{SLIDE}/slide.json", f"/{SLIDE}/scores.csv", f"/{SLIDE}/corrections", "/x"]


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_slide(tmp_path_factory.mktemp("slides") / "b.tif")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, slide: Path) -> Path:
    """Results of a raw slide and of an IDC case, and a file beside them that is nobody's business."""
    folder = tmp_path_factory.mktemp("made")
    add_raw_slide(folder / "results", slide)
    add_slide(folder / "results", make_source(3, 2), "8863")
    (folder / "secret.txt").write_text("secret")
    return folder


@pytest.fixture
def out(made: Path, tmp_path: Path) -> Path:
    """A copy of the results, to be changed."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path / "results"


@pytest.fixture
def client(out: Path) -> Iterator[Client]:
    """Somebody who has opened the address."""
    with served(out) as client:
        assert client.enter().status == 200
        yield client


def tile_address(client: Client, tile: str) -> str:
    return f"/{client.ask(f'/{SLIDE}/slide.json').json['tiles']}/{tile}.jpg"


def pixels(body: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(body)))


# Who is let in.


@pytest.mark.parametrize("path", EVERYTHING)
@pytest.mark.parametrize("cookie", ["", "wsi-idc-00000000=the-key-to-all-of-it", "token=the-key-to-all-of-it"])
def test_another_user_of_the_machine_is_refused(out: Path, path: str, cookie: str) -> None:
    with served(out) as client:
        for asked in (
            path,
            f"{path}?token=",
            f"{path}?token=the-key",
            f"{path}?token={TOKEN}x",
            f"{path}?token=%C3%A9",
        ):
            answer = client.ask(asked, Cookie=cookie)
            assert answer.status == 403 and b"wsi-idc view" in answer.body, asked
            assert "set-cookie" not in answer.headers
        assert client.ask(f"/{SLIDE}/corrections", "POST", PAINT, Cookie=cookie).status == 403
    assert not (out / SLIDE / CORRECTIONS_FILE).exists()


def test_the_key_becomes_a_cookie_that_scripts_and_other_sites_do_not_get(out: Path) -> None:
    with served(out) as client:
        answer = client.enter()
        assert answer.status == 200
        assert {part.strip() for part in answer.headers["set-cookie"].split(";")[1:]} == {
            "Path=/",
            "HttpOnly",
            "SameSite=Strict",
        }
        assert all(client.ask(path).status == 200 for path in EVERYTHING[:-1])
        # The key opens the page alone: nothing that a page could name holds it.
        assert client.ask(f"/{SLIDE}/report.js?token={TOKEN}", Cookie="").status == 403
        assert TOKEN.encode() not in client.ask("/").body


def test_what_a_browser_is_called_with_is_good_for_one_visit(out: Path) -> None:
    with served(out, once="just-once") as client:
        assert client.enter("just-once").status == 200
        assert client.ask("/").status == 200
        assert client.ask("/?token=just-once", Cookie="").status == 403
        assert client.ask(f"/?token={TOKEN}", Cookie="").status == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:80", 200),
        ("localhost:9999", 200),
        ("[::1]:1", 200),
        ("LOCALHOST", 200),
        ("evil.example", 403),
        ("evil.example:8000", 403),
        ("127.0.0.1.evil.example", 403),
        ("localhost.evil.example:80", 403),
        ("127.0.0.1:80@evil.example", 403),
        ("192.168.0.7:80", 403),
        ("", 400),
    ],
)
def test_another_hosts_name_is_refused(client: Client, host: str, status: int) -> None:
    assert client.ask("/", Host=host).status == status


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "https://127.0.0.1", "http://127.0.0.1:1", "null", "file://"]
)
def test_a_page_of_another_origin_can_neither_write_nor_read(client: Client, out: Path, origin: str) -> None:
    assert client.ask(f"/{SLIDE}/corrections", "POST", PAINT, Origin=origin).status == 403
    assert client.ask(f"/{SLIDE}/report.js", Origin=origin).status == 403
    assert not (out / SLIDE / CORRECTIONS_FILE).exists()
    own = client.address.rstrip("/")
    assert client.ask(f"/{SLIDE}/corrections", "POST", PAINT, Origin=own).status == 200


def test_a_page_of_another_port_may_only_lead_here(client: Client) -> None:
    for site in ("same-site", "cross-site"):
        for path in EVERYTHING[1:-1]:
            assert client.ask(path, Sec_Fetch_Site=site, Sec_Fetch_Mode="no-cors").status == 403
            assert client.ask(path, Sec_Fetch_Site=site, Sec_Fetch_Mode="navigate").status == 403
        assert client.ask("/", Sec_Fetch_Site=site, Sec_Fetch_Mode="navigate").status == 200
        assert client.ask(f"/{SLIDE}/corrections", "POST", PAINT, Sec_Fetch_Site=site).status == 403
    assert client.ask(EVERYTHING[1], Sec_Fetch_Site="same-origin").status == 200


def test_a_form_cannot_write(client: Client, out: Path) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        assert client.ask(f"/{SLIDE}/corrections", "POST", PAINT, Content_Type=kind).status == 400
    assert not (out / SLIDE / CORRECTIONS_FILE).exists()


@pytest.mark.parametrize("path", [*EVERYTHING, "/../", f"/{SLIDE}/mosaic.png"])
def test_every_answer_keeps_to_itself(client: Client, path: str) -> None:
    headers = client.ask(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "http" not in policy
    assert headers["x-content-type-options"] == "nosniff" and headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer" and headers["cross-origin-resource-policy"] == "same-origin"
    assert "access-control-allow-origin" not in headers and headers["cache-control"] == "no-store"


def test_the_server_listens_on_the_loopback_address_alone(out: Path) -> None:
    with served(out) as client:
        port = int(client.address.rsplit(":", 1)[1].strip("/"))
        with open("/proc/net/tcp") as table:  # noqa: PTH123
            listening = [line.split()[1] for line in table if line.split()[3] == "0A"]
    assert [at.split(":")[0] for at in listening if int(at.split(":")[1], 16) == port] == ["0100007F"]


def test_answers_do_not_wait_for_an_acknowledgement() -> None:
    """asyncio switches Nagle's algorithm off only for sockets whose protocol is named: others answer 40 ms later."""
    with _listen(0) as listener, socket.create_connection(listener.getsockname()):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.proto == socket.IPPROTO_TCP


def test_a_port_that_is_taken_is_one_sentence(out: Path) -> None:
    with served(out) as client:
        port = int(client.address.rsplit(":", 1)[1].strip("/"))
        with pytest.raises(OptionError, match="--port"), serving(make_app(LiveResults(out), TOKEN), port):
            pass
    assert client.address.startswith(f"http://{HOST}:")


# What is given out.


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.txt",
        "/8863/../../secret.txt",
        "/8863/..%2f..%2fsecret.txt",
        "/%2e%2e/secret.txt",
        "/8863/%2e%2e/%2e%2e/secret.txt",
        "//etc/passwd",
        "/8863//etc/passwd",
        "/8863/.mosaics.json",
        "/8863/notes.txt",
        "/summary.csv",
        "/8863/link/scores.csv",
        f"/{SLIDE}",
        "/a/scores.csv",
        "/nobody/scores.csv",
        "/8863/slide.json",
        f"/{SLIDE}/tiles/0000000000000000/0/0_0.jpg",
    ],
)
def test_no_other_file_is_given_out(client: Client, out: Path, path: str) -> None:
    (out / "8863" / "notes.txt").write_text("secret")
    (out / "8863" / ".mosaics.json").write_text("secret")
    (out / "summary.csv").write_text("secret")
    answer = client.ask(path)
    assert answer.status == 404 and b"secret" not in answer.body and b"root" not in answer.body
    assert client.ask(path, "POST", PAINT).status in (404, 405)


def test_a_link_that_leads_out_of_the_results_is_not_followed(client: Client, out: Path) -> None:
    path = out / "8863" / "heatmap.png"
    assert client.ask("/8863/heatmap.png").status == 200
    path.unlink()
    try:
        path.symlink_to(out.parent / "secret.txt")
    except OSError:
        pytest.skip("no links here")
    assert client.ask("/8863/heatmap.png").status == 404


def test_files_of_a_slide_are_given_out_as_they_are(client: Client, out: Path) -> None:
    for name, kind in (("mosaic.png", "image/png"), ("scores.csv", "text/csv"), ("run.json", "application/json")):
        answer = client.ask(f"/8863/{name}")
        assert answer.body == (out / "8863" / name).read_bytes() and answer.headers["content-type"].startswith(kind)


def test_tiles_at_full_size_are_the_slides_own_pixels(client: Client) -> None:
    info = client.ask(f"/{SLIDE}/slide.json").json
    assert (info["width"], info["height"], info["tile"], info["depth"]) == (*SIZE_PX, TILE_PX, 4)
    truth = pixels_of_slide().astype(int)
    for column, row in ((0, 0), (3, 4), (11, 8)):
        answer = client.ask(tile_address(client, f"0/{column}_{row}"))
        assert answer.headers["content-type"] == "image/jpeg"
        assert "immutable" in answer.headers["cache-control"] and "private" in answer.headers["cache-control"]
        left, top = column * TILE_PX, row * TILE_PX
        part = truth[top : top + TILE_PX + 1, left : left + TILE_PX + 1]
        tile = pixels(answer.body)
        # Honest at the slide's edge: no more than there is.
        assert tile.shape == part.shape
        # The lines of one pixel are still lines.
        assert np.abs(tile - part).mean() < 6
    for missing in ("0/12_0", "0/0_9", "5/0_0", "99/0_0", "0/999999_0"):
        assert client.ask(tile_address(client, missing)).status == 404


def test_reduced_tiles_are_means(client: Client) -> None:
    whole = pixels(client.ask(tile_address(client, "4/0_0")).body)
    assert whole.shape == (-(-SIZE_PX[1] // 16), -(-SIZE_PX[0] // 16), 3)
    blocks = pixels_of_slide()[: SIZE_PX[1] // 16 * 16, : SIZE_PX[0] // 16 * 16].astype(float)
    means = blocks.reshape(SIZE_PX[1] // 16, 16, SIZE_PX[0] // 16, 16, 3).mean(axis=(1, 3))
    assert np.abs(whole[: means.shape[0], : means.shape[1]] - means).mean() < 4


def test_four_at_once_get_what_one_gets(client: Client, out: Path) -> None:
    paths = [tile_address(client, f"{depth}/{k}_{k}") for depth in (0, 1) for k in range(4)]
    alone = [client.ask(path).body for path in paths]
    with served(out) as other:
        other.enter()
        got: dict[str, bytes] = {}
        threads = [threading.Thread(target=lambda p=p: got.update({p: other.ask(p).body})) for p in paths]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [got[path] for path in paths] == alone


def test_a_slide_that_is_gone_or_another_is_said(client: Client, out: Path, slide: Path) -> None:
    run = out / SLIDE / "run.json"
    told = json.loads(run.read_text())
    tile = tile_address(client, "0/0_0")
    told["source"]["size_px"] = [100, 100]
    run.write_text(json.dumps(told))
    answer = client.ask(f"/{SLIDE}/slide.json")
    assert answer.status == 409 and "3,000 x 2,300 px" in answer.json["error"]
    told["source"]["path"] = "gone.svs"
    run.write_text(json.dumps(told))
    assert client.ask(f"/{SLIDE}/slide.json").status == 404
    assert client.ask(tile).status == 404
    assert b"gone.svs is not there" in client.ask("/").body


def test_the_page_follows_the_folder(client: Client, out: Path) -> None:
    before = client.ask("/").body
    assert client.ask("/").body == before and b"9022" not in before
    add_slide(out, make_source(6, 5), "9022")
    assert b"9022" in client.ask("/").body
    assert client.ask("/9022/report.js").status == 200


def test_a_folder_without_results_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError, match="--out"):
        LiveResults(tmp_path)


@pytest.mark.parametrize("size", [(1, 1), (256, 256), (257, 1), (512, 100), (513, 100), (40_000, 30_000)])
def test_the_last_depth_is_one_tile(size: tuple[int, int]) -> None:
    shape = Shape(*size)
    assert shape.box(shape.depth, 0, 0) is not None
    assert shape.box(shape.depth, 1, 0) is None and shape.box(shape.depth + 1, 0, 0) is None
    for depth in range(shape.depth + 1):
        reduced = [-(-side // 2**depth) for side in size]
        last = [(side - 1) // TILE_PX for side in reduced]
        left, top, width, height = shape.box(depth, last[0], last[1]) or (0, 0, 0, 0)
        assert (left + width, top + height) == tuple(reduced)


# What is saved.


def test_what_is_painted_is_in_the_file_at_once(client: Client, out: Path) -> None:
    scores = (out / SLIDE / "scores.csv").read_bytes()
    answer = client.ask(f"/{SLIDE}/corrections", "POST", PAINT)
    assert answer.status == 200 and answer.json["undoable"] == 1
    (saved,) = read_corrections(out / SLIDE)
    assert (saved.box, saved.is_idc, saved.who) == ((400, 0, 400, 400), True, "Ada L.")
    assert saved.model_sha256 == json.loads((out / SLIDE / "run.json").read_text())["model"]["sha256"]
    assert saved.when.endswith("+00:00")
    assert (out / SLIDE / "scores.csv").read_bytes() == scores
    # Another view of the same folder shows it.
    assert b'"isIdc":true' in client.ask(f"/{SLIDE}/report.js").body
    assert client.ask(f"/{SLIDE}/corrections").json["corrections"][0]["box"] == [400, 0, 400, 400]


def change(client: Client, kind: str, *boxes: list[int], note: str = "", who: str = "Bo") -> list[dict[str, object]]:
    asked = {"kind": kind, "boxes": list(boxes), "who": who, "note": note}
    answer = client.ask(f"/{SLIDE}/corrections", "POST", asked)
    assert answer.status == 200, answer.body
    found: list[dict[str, object]] = answer.json["corrections"]
    return found


def undo(client: Client) -> list[tuple[object, object]]:
    answer = client.ask(f"/{SLIDE}/corrections/undo", "POST", {})
    assert answer.status == 200
    return [(one["isIdc"], one["note"]) for one in answer.json["corrections"]]


def test_changes_are_undone_one_by_one(client: Client, out: Path) -> None:
    first, second, place = [0, 0, 400, 400], [400, 0, 400, 400], [50, 60, 100, 100]
    change(client, "IDC", first, second)
    change(client, "no IDC", second)
    change(client, "note", place, note="mitosis\nhere")
    change(client, "erase", first)
    assert {(one.box, one.is_idc, one.note) for one in read_corrections(out / SLIDE)} == {
        (tuple(second), False, ""),
        (tuple(place), None, "mitosis\nhere"),
    }
    assert sorted(undo(client), key=str) == [(False, ""), (None, "mitosis here"), (True, "")]
    assert sorted(undo(client), key=str) == [(False, ""), (True, "")]
    assert undo(client) == [(True, ""), (True, "")]
    assert undo(client) == [] == undo(client)
    assert read_corrections(out / SLIDE) == ()


def test_a_note_is_replaced_and_taken_back(client: Client, out: Path) -> None:
    place = [50, 60, 100, 100]
    change(client, "note", place, note="one")
    change(client, "note", place, note="two")
    assert [one.note for one in read_corrections(out / SLIDE)] == ["two"]
    change(client, "note", place, note="")
    assert read_corrections(out / SLIDE) == ()


def test_what_says_the_same_keeps_who_said_it_first(client: Client, out: Path) -> None:
    change(client, "IDC", [0, 0, 400, 400], who="Ada")
    change(client, "IDC", [0, 0, 400, 400], [400, 0, 400, 400], who="Bo")
    assert [one.who for one in read_corrections(out / SLIDE)] == ["Ada", "Bo"]


def test_what_another_program_saves_in_between_stays(client: Client, out: Path) -> None:
    change(client, "IDC", [0, 0, 400, 400])
    (ours,) = read_corrections(out / SLIDE)
    theirs = Correction(800, 0, 400, 400, False, "of QuPath", "Cy", "2026-01-01T00:00:00+00:00", "")
    write_corrections(out / SLIDE, [ours, theirs])
    assert len(change(client, "no IDC", [400, 0, 400, 400])) == 3
    undo(client)
    undo(client)
    assert [one.note for one in read_corrections(out / SLIDE)] == ["of QuPath"]


@pytest.mark.parametrize(
    "asked",
    [
        {},
        [],
        PAINT | {"kind": "tumour"},
        PAINT | {"boxes": []},
        PAINT | {"boxes": [[400, 0, 400, 399]]},
        PAINT | {"boxes": [[-400, 0, 400, 400]]},
        PAINT | {"boxes": [[400.5, 0, 400, 400]]},
        PAINT | {"boxes": [[True, 0, 400, 400]]},
        PAINT | {"boxes": ["400"]},
        PAINT | {"boxes": [[2**30, 0, 400, 400]], "kind": "erase"},
        PAINT | {"kind": "note", "note": "x", "boxes": [[0, 0, 0, 10]]},
        PAINT | {"kind": "note", "note": "x" * 3_000},
        PAINT | {"kind": "note", "note": "bell \a"},
        PAINT | {"kind": "note", "note": "x", "boxes": [[0, 0, 1, 1], [1, 1, 1, 1]]},
        PAINT | {"who": ""},
        PAINT | {"who": "  "},
        PAINT | {"who": "x" * 200},
        PAINT | {"who": 3},
        b"{",
        b"[" * 100_000,
        b'"' + b"x" * LONGEST_BODY + b'"',
    ],
)
def test_nonsense_is_refused_and_nothing_is_written(client: Client, out: Path, asked: object) -> None:
    answer = client.ask(f"/{SLIDE}/corrections", "POST", asked)
    assert answer.status == 400 and answer.json["error"].endswith((".", "characters."))
    assert not (out / SLIDE / CORRECTIONS_FILE).exists()


def test_a_damaged_file_is_not_written_over(client: Client, out: Path) -> None:
    path = out / SLIDE / CORRECTIONS_FILE
    path.write_text("{")
    answer = client.ask(f"/{SLIDE}/corrections", "POST", PAINT)
    assert answer.status == 409 and CORRECTIONS_FILE in answer.json["error"]
    assert path.read_text() == "{"
    assert CORRECTIONS_FILE.encode() in client.ask(f"/{SLIDE}/report.js").body


def test_a_folder_that_cannot_be_written_is_said(client: Client, out: Path) -> None:
    folder = out / SLIDE
    folder.chmod(0o500)
    try:
        if os.access(folder, os.W_OK):
            pytest.skip("this user can write everywhere")
        assert client.ask(f"/{SLIDE}/corrections", "POST", PAINT).status in (409, 507)
    finally:
        folder.chmod(0o700)


def test_strokes_of_two_windows_at_once_are_all_kept(client: Client, out: Path) -> None:
    boxes = [[x, y, 400, 400] for y in range(0, 2_000, 400) for x in range(0, 2_400, 400)]
    threads = [threading.Thread(target=change, args=(client, "IDC", box)) for box in boxes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {one.box for one in read_corrections(out / SLIDE)} == {tuple(box) for box in boxes}


def test_strokes_of_two_programs_at_once_are_all_kept(out: Path) -> None:
    boxes = [(x, y, 400, 400) for y in range(0, 2_000, 400) for x in range(0, 2_400, 400)]

    def correct(mine: list[tuple[int, int, int, int]]) -> None:
        editor = Editor(out / SLIDE, (0, 0))
        for box in mine:
            editor.change(Change("IDC", (box,), "Ada"), lambda box: True, "")

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(correct, (boxes[::2], boxes[1::2])))
    assert {one.box for one in read_corrections(out / SLIDE)} == set(boxes)
    assert not list((out / SLIDE).glob(".*lock"))


def test_corrections_change_no_call(client: Client, out: Path) -> None:
    before = client.ask(f"/{SLIDE}/report.js").body
    change(client, "IDC", [0, 0, 400, 400])
    after = client.ask(f"/{SLIDE}/report.js").body
    stamp = before.split(b",")[1]
    assert after.split(b",")[1] == stamp and after.split(b'"corrections"')[0] == before.split(b'"corrections"')[0]
    assert f'"threshold":{THRESHOLD}'.encode() in client.ask("/").body


def test_a_damaged_part_of_the_slide_is_grey_and_the_rest_is_shown(out: Path, slide: Path, tmp_path: Path) -> None:
    import tifffile

    with tifffile.TiffFile(slide) as file:
        page = file.pages.first
        offset, length = page.dataoffsets[0], page.databytecounts[0]
        side = page.tilelength
    damaged = tmp_path / "damaged.tif"
    content = bytearray(slide.read_bytes())
    content[offset : offset + length] = bytes(length)
    damaged.write_bytes(content)
    run = out / SLIDE / "run.json"
    told = json.loads(run.read_text())
    told["source"]["path"] = str(damaged)
    run.write_text(json.dumps(told))
    with served(out) as client:
        client.enter()
        assert (pixels(client.ask(tile_address(client, "0/0_0")).body) == 105).mean() > 0.95
        k = side // TILE_PX
        tile = pixels(client.ask(tile_address(client, f"0/{k}_{k}")).body).astype(int)
        truth = pixels_of_slide()[side : side + TILE_PX + 1, side : side + TILE_PX + 1]
        assert np.abs(tile - truth).mean() < 6
