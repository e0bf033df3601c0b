"""Data sets of the hub, streamed from a local server that answers as the hub does; and a hub that is not there."""

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.corpora import build_corpus, matched

from vocablab.base.errors import RunError, UserError
from vocablab.corpus.corpus import Corpus
from vocablab.corpus.mixtures import FINEWEB_EDU, OPENWEBMATH, declared_corpus
from vocablab.corpus.sources import Files, Public
from vocablab.vocab.intervention import NoChange

COMMIT = "0123456789abcdef0123456789abcdef01234567"
TEXTS = [f"A page of the web, number {i}." for i in range(300)]


class Hub(BaseHTTPRequestHandler):
    """The three addresses that listing and streaming a data set take."""

    root: Path
    broken = False

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, *, body: bool) -> None:
        path = unquote(urlparse(self.path).path)
        if found := re.fullmatch(r"/api/datasets/someone/web(?:/revision/(\w+))?", path):
            self.send_json({"id": "someone/web", "sha": COMMIT, "siblings": []})
        elif found := re.fullmatch(rf"/api/datasets/someone/web/tree/{COMMIT}/?(.*)", path):
            self.send_json(self.tree(found[1]))
        elif found := re.fullmatch(r"/api/datasets/someone/web/paths-info/\w+", path):
            length = int(self.headers.get("Content-Length", 0))
            self.rfile.read(length)
            self.send_json([])
        elif found := re.fullmatch(rf"/datasets/someone/web/resolve/{COMMIT}/(.+)", path):
            self.send_file(self.root / found[1], body=body)
        else:
            self.send_error(404)

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        asked = unquote(self.rfile.read(length).decode().replace("+", " "))
        names = [name for name in re.findall(r"[\w./-]+\.\w+", asked) if (self.root / name).is_file()]
        self.send_json([self.entry(self.root / name) for name in names])

    def entry(self, path: Path) -> dict[str, Any]:
        kind = {"type": "file", "size": path.stat().st_size} if path.is_file() else {"type": "directory"}
        return {"path": path.relative_to(self.root).as_posix(), "oid": "0" * 40, **kind}

    def tree(self, folder: str) -> list[dict[str, Any]]:
        return [self.entry(path) for path in sorted((self.root / folder).rglob("*"))]

    def send_json(self, value: Any) -> None:
        data = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def send_file(self, path: Path, *, body: bool) -> None:
        if self.broken and body:
            self.send_error(500)
            return
        data = path.read_bytes()
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        first, last = (int(found[1]), int(found[2] or len(data) - 1)) if found else (0, len(data) - 1)
        piece = data[first : last + 1]
        self.send_response(206 if found else 200)
        self.send_header("ETag", '"etag"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Accept-Ranges", "bytes")
        if found:
            self.send_header("Content-Range", f"bytes {first}-{first + len(piece) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(piece)))
        self.end_headers()
        if body:
            self.wfile.write(piece)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Hub]]:
    import huggingface_hub.hf_file_system as file_system
    from huggingface_hub import constants

    root = tmp_path / "hub"
    (root / "sample/10BT").mkdir(parents=True)
    pq.write_table(pa.table({"id": list(range(200)), "text": TEXTS[:200]}), root / "sample/10BT/000.parquet",
                   row_group_size=60)  # fmt: skip
    (root / "sample/10BT/001.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS[200:]))
    (root / "README.md").write_text("no document")
    (root / "other").mkdir()
    (root / "other/000.jsonl").write_text('{"text": "not asked for"}\n')
    handler = type("Handler", (Hub,), {"root": root, "broken": False})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", endpoint + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(file_system.HfFileSystem, "cachable", False, raising=False)
    yield handler
    server.shutdown()


SOURCE = Public("web", "someone/web", "sample/10BT/*", "main", "text")


def test_a_data_set_is_streamed_at_one_commit(hub: type[Hub], tmp_path: Path) -> None:
    parts = SOURCE.parts(None, 0)
    assert [part.name for part in parts] == ["sample/10BT/000.parquet", "sample/10BT/001.jsonl"]
    assert all(part.origin.startswith(f"datasets/someone/web@{COMMIT}/") for part in parts)
    assert [d.text for d in SOURCE.documents(None, 0)] == TEXTS
    counts = build_corpus(Corpus((SOURCE,), 0.1), matched({"a": NoChange()}), tmp_path / "streamed")
    assert counts["sources"]["web"]["inputs"][0][0].startswith(f"datasets/someone/web@{COMMIT}/")
    local = build_corpus(
        Corpus((SOURCE,), 0.1), matched({"a": NoChange()}), tmp_path / "local", data=_copy(hub, tmp_path)
    )
    # A copy in the data directory, folders kept or not, gives the same corpus.
    assert counts["arms"]["a"]["train"] == local["arms"]["a"]["train"]


def _copy(hub: type[Hub], tmp_path: Path) -> Path:
    folder = tmp_path / "data/web/sample/10BT"
    folder.mkdir(parents=True)
    for path in (hub.root / "sample/10BT").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return tmp_path / "data"


def test_a_network_that_fails_stops_the_run_and_drops_nothing(hub: type[Hub], tmp_path: Path) -> None:
    parts = SOURCE.parts(None, 0)
    assert parts
    hub.broken = True
    with pytest.raises(RunError, match=r"does not deliver .* the same command goes on"):
        build_corpus(Corpus((SOURCE,), 0.1), matched({"a": NoChange()}), tmp_path / "out")


def test_neither_here_nor_there_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="fineweb-edu is missing: put a copy into fineweb-edu/ of the data directory"):
        FINEWEB_EDU.parts(tmp_path, 0)
    (tmp_path / "openwebmath").mkdir()
    (tmp_path / "openwebmath/train-00000.parquet").write_bytes(b"")
    assert [part.name for part in OPENWEBMATH.parts(tmp_path, 0)] == ["train-00000.parquet"]


def test_what_a_user_names_becomes_a_corpus(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "x"}\n')

    def declared(*names: str, tokens: int | None = None, field: str | None = None) -> Corpus:
        return declared_corpus(list(names), field=field, validation_share=0.1, target_tokens=tokens)

    assert declared(str(tmp_path)).sources == (Files(tmp_path.name, str(tmp_path), None),)
    mixed = declared(f"{tmp_path / 'a.jsonl'}:3", "prose:1", tokens=1000)
    assert mixed.weights == (3.0, 1.0)
    assert declared("math-heavy", tokens=10**9).weights == (0.5, 0.4, 0.1)
    found = declared("hub:someone/web/data/*.parquet@v1.2", field="body").sources[0]
    assert found == Public("someone--web", "someone/web", "data/*.parquet", "v1.2", "body")
    assert declared("hub:someone/web").sources[0] == Public("someone--web", "someone/web", "*", "main", None)
    for names, tokens, said in (
        (["nothing-such"], None, "known sources: fineweb-edu"),
        (["hub:web"], None, "write hub:owner/name"),
        (["prose"], None, "never ends"),
        (["gsm8k:1", "fineweb-edu"], None, "every source a weight"),
        (["gsm8k", "fineweb-edu"], 1000, "need weights"),
    ):
        with pytest.raises(UserError, match=said):
            declared(*names, tokens=tokens)
