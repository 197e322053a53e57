"""The web service of the page on tasks answers, as it stands there."""

from __future__ import annotations

import json
import threading
import urllib.request
from http.server import HTTPServer
from pathlib import Path

import ostinato
from tests.support import pages

PAGE = Path(__file__).resolve().parents[2] / "docs" / "tasks.md"


def test_the_service_answers(tmp_path, monkeypatch):
    rows = "".join(f"{word},{word[0]}\n" for word in ("ball", "bear", "cat", "cup", "bat", "cow") * 5)
    (tmp_path / "words.csv").write_text("text,stars\n" + rows)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OSTINATO_CACHE", str(tmp_path / "cache"))
    tiny = {"steps": 2, "hidden_size": 4, "quiet": True, "device": "cpu", "inputs": "text", "target": "stars"}
    ostinato.train("words.csv", "ostinato-reviews", task="classify", **tiny)

    using, service = [code for _, code, _ in pages.blocks(PAGE)][-2:]
    exec(compile(using, str(PAGE), "exec"), {})
    started = []
    monkeypatch.setattr(HTTPServer, "serve_forever", lambda server: started.append(server))
    exec(compile(service.replace("8000", "0"), str(PAGE), "exec"), {})
    monkeypatch.undo()
    (server,) = started
    with server:
        threading.Thread(target=server.handle_request).start()
        address = f"http://localhost:{server.server_port}"
        with urllib.request.urlopen(address, data=b"a bat", timeout=60) as answer:
            label, score = json.loads(answer.read())
    assert label in ("b", "c")
    assert 0.5 <= score <= 1
