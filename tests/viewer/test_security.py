"""Who gets into the local page: every row of the table of threats, on real sockets of this machine."""

import base64
import hashlib
import http.client
import json
import re
import time

import pytest

from helpers.pages import served, until
from layerscope.viewer import security
from layerscope.viewer.document import Document
from layerscope.viewer.security import Gate


@pytest.fixture(scope="module")
def server():
    with served() as running:
        yield running


def page(server, query=None, **headers):
    return server.send("GET", f"/?token={server.token}" if query is None else f"/{query}", **headers)


def test_the_page_needs_the_token(server):
    assert page(server).status == 200
    for query in ("?token=", "?token=wrong", f"?token={server.token}x", f"?token={server.token[:-1]}", "?token=%ff"):
        refused = page(server, query)
        assert refused.status == 403, query
        assert b"<title>layerscope</title>" in refused.body, "what is looked at is nobody else's business"


def test_a_page_that_is_loaded_again_finds_its_token_in_its_window(server):
    door = page(server, "")
    assert door.status == 200, "a browser would write an error on its console"
    assert b"sessionStorage" in door.body
    assert server.token not in door.body.decode()
    assert b"<title>layerscope</title>" in door.body
    assert len(door.body) < 2000, "nothing of the viewer is in it"


def test_requests_need_the_token_in_their_header(server):
    assert server.ask("manifest").status == 200
    for token in (None, "", "wrong", server.token + "x", server.token[:-1], "\xff" * 32):
        assert server.ask("manifest", x_layerscope_token=token).status == 403
    body = json.dumps({"id": "a", "op": "manifest", "params": {}}).encode()
    sent = server.send("POST", f"/api?token={server.token}", body, content_type="application/json")
    assert sent.status == 403, "an address is kept in histories and logs"
    assert server.session.begun.count("a") == 0


def test_a_token_is_new_each_time_and_long():
    tokens = {security.new_token() for _ in range(100)}
    assert len(tokens) == 100
    assert all(len(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))) == 24 for token in tokens)
    assert security.new_token() not in repr(Gate("127.0.0.1", 1, "secret"))
    assert "secret" not in repr(Gate("127.0.0.1", 1, "secret"))


@pytest.mark.parametrize(
    "host", ["evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "localhost.evil.example:{port}", "127.0.0.2:{port}", "",
             "[::1]:x{port}", "127.0.0.1:{port}:{port}", "user@127.0.0.1:{port}", "2130706433:{port}"]
)  # fmt: skip
def test_other_hosts_are_misdirected(server, host):
    host = host.format(port=server.port)
    for answer in (page(server, host=host), server.ask("manifest", host=host), server.send("GET", "/x", host=host)):
        assert answer.status == 421
        assert b"layerscope" not in answer.body


def test_no_host_or_two_are_refused(server):
    for lines in (b"", b"host: 127.0.0.1:%d\r\nhost: evil.example\r\n" % server.port):
        for version in (b"1.0", b"1.1"):
            with server.raw(b"GET / HTTP/" + version + b"\r\n" + lines + b"\r\n") as connection:
                assert re.match(rb"HTTP/1.1 4(00|21) ", connection.recv(100)), (lines, version)


@pytest.mark.parametrize("host", ["localhost:{port}", "127.0.0.1:{port}", "LOCALHOST:{port}", "[::1]:{port}"])
def test_the_names_of_this_machine_are_known(server, host):
    assert page(server, host=host.format(port=server.port)).status == 200


@pytest.mark.parametrize(
    "origin", ["null", "http://evil.example", "https://127.0.0.1:{port}", "http://127.0.0.1", "http://127.0.0.1:1", "",
               "http://127.0.0.1:{port}/", "file://", "http://127.0.0.1:{port}.evil.example", "127.0.0.1:{port}"]
)  # fmt: skip
def test_other_origins_are_refused(server, origin):
    origin = origin.format(port=server.port)
    assert server.ask("manifest", origin=origin).status == 403
    assert page(server, origin=origin).status == 403


def test_a_program_without_an_origin_may_ask(server):
    assert server.ask("manifest", origin=None, sec_fetch_site=None).status == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site", "none", "", "anything"])
def test_what_a_browser_calls_foreign_is_refused(server, site):
    assert server.ask("manifest", sec_fetch_site=site).status == 403
    assert page(server, sec_fetch_site=site).status == (200 if site == "none" else 403)


def test_a_link_to_the_page_may_come_from_anywhere_but_not_a_frame_or_a_script(server):
    opened = {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate"}
    assert page(server, **opened, sec_fetch_dest="document").status == 200
    assert page(server, "?token=wrong", **opened, sec_fetch_dest="document").status == 403
    assert page(server, **opened, sec_fetch_dest="iframe").status == 403
    assert page(server, sec_fetch_site="cross-site", sec_fetch_mode="no-cors", sec_fetch_dest="script").status == 403
    assert server.ask("manifest", **opened, sec_fetch_dest="document").status == 403


@pytest.mark.parametrize(
    "path", ["/../../../etc/passwd", "/static/page.js", "/..%2f..%2fetc%2fpasswd", "//etc/passwd", "/%2e%2e/", "/api/",
             "/api/../", "/.git/config", "/favicon.ico", "/\\..\\x", "/api%00", "/layerscope/viewer/page.py"]
)  # fmt: skip
def test_no_path_leads_to_a_file(server, path):
    answer = server.send("GET", path)
    assert answer.status == 404
    assert answer.body == b"Not Found"


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH"])
def test_other_methods_get_nothing_and_no_cors(server, method):
    answer = server.send(method, "/api", access_control_request_method="POST")
    assert answer.status == 405
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_a_model_is_never_taken_by_address_or_upload(server):
    """The page has one document, whatever else is asked of it, and requests are answered by the session alone."""
    plain = page(server).body
    assert page(server, f"?token={server.token}&model=/tmp/evil.pt&trust=1").body == plain
    assert server.ask("open", {"model": "evil.pt"}).message["error"]["kind"] == "BadOption"


def test_websockets_are_not_spoken(server):
    request = (
        f"GET /?token={server.token} HTTP/1.1\r\nhost: 127.0.0.1:{server.port}\r\nconnection: Upgrade\r\n"
        "upgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    with server.raw(request.encode()) as connection:
        assert not connection.recv(200).startswith(b"HTTP/1.1 101")


def test_every_answer_has_the_headers_that_keep_it_here(server):
    for answer in (
        page(server),
        page(server, ""),
        server.ask("manifest"),
        server.ask("manifest", origin="null"),
        server.ask("manifest", host="evil.example"),
        server.ask("manifest", content_type="text/plain"),
        server.send("GET", "/nothing"),
        server.send("GET", "/api"),
    ):
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert answer.headers["content-security-policy"].startswith("default-src 'none'; ")
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert not {"set-cookie", "server", "access-control-allow-origin"} & set(answer.headers)


def test_the_policy_allows_exactly_the_program_and_the_style_of_the_page(server):
    for answer, connect, title in (
        (page(server), "'self'", "a &lt;b&gt; model"),
        (page(server, ""), "'none'", "layerscope"),
    ):
        rules = dict(rule.split(" ", 1) for rule in answer.headers["content-security-policy"].split("; "))
        text = answer.body.decode()
        for element, rule in (("script", "script-src"), ("style", "style-src")):
            (held,) = re.findall(rf"<{element}>(.*?)</{element}>", text, re.DOTALL)
            digest = base64.b64encode(hashlib.sha256(held.encode()).digest()).decode()
            assert rules[rule] == f"'sha256-{digest}'"
        assert rules["connect-src"] == connect
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert not re.search(r"\b(src|href)=\"(?!data:,)", text), "nothing is loaded from elsewhere"
        assert f"<title>{title}</title>" in text


@pytest.mark.parametrize("framed", [True, False])
def test_too_large_a_request_is_refused_by_its_length(server, framed):
    """Before a byte of it has come."""
    most = security.MOST_UPLOAD if framed else security.MOST_JSON
    kind = "application/octet-stream" if framed else "application/json"
    for length in (most + 1, 10**12, "9" * 100, "-1", "x"):
        head = (
            f"POST /api HTTP/1.1\r\nhost: 127.0.0.1:{server.port}\r\nx-layerscope-token: {server.token}\r\n"
            f"content-type: {kind}\r\ncontent-length: {length}\r\n\r\n"
        )
        with server.raw(head.encode()) as connection:
            assert re.match(rb"HTTP/1.1 (413|400) ", connection.recv(100)), length


def test_too_large_a_request_is_refused_while_it_comes(server, monkeypatch):
    before = len(server.session.begun)
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    kind = {"content-type": "application/octet-stream", "x-layerscope-token": server.token}
    sent = 0

    def parts():
        nonlocal sent
        for _ in range(64):
            sent += 1 << 20
            yield bytes(1 << 20)

    connection.request("POST", "/api", parts(), kind, encode_chunked=True)
    response = connection.getresponse()
    assert response.status == 413
    assert response.read() == b"A request has at most 32 MB.\n"
    connection.close()
    assert len(server.session.begun) == before


def test_a_client_that_sends_too_much_at_once_still_reads_why(server):
    answer = server.upload(bytes(security.MOST_UPLOAD))
    assert answer.status == 413
    assert server.upload(bytes(1000), id="fits").message["ok"]


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b"1", b'{"id": 1, "op": "map"}', b'{"id": "a", "op": null}', b'{"id": "", "op": "map"}',
             b'{"id": "a", "op": "map", "params": []}', b'{"id": "a", "op": "map", "params": {"x": NaN}}', b"\xff\xfe",
             b"[" * 100_000, b'{"id": "%s", "op": "map"}' % (b"a" * 100)]
)  # fmt: skip
def test_what_is_no_request_is_refused_by_name(server, body):
    answer = server.send("POST", "/api", body, content_type="application/json", x_layerscope_token=server.token)
    assert answer.status == 400
    assert len(answer.body) < 200


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", None])
def test_what_a_form_can_send_is_no_request(server, kind):
    assert server.ask("manifest", content_type=kind).status == 415


@pytest.mark.parametrize(
    "frame", [b"\xff" * 8, b"\xff" * 100, bytes(8), (5).to_bytes(8, "little") + b"{}",
              (24).to_bytes(8, "little") + b'{"buffers":[1e9,"x",-1]}',
              (16).to_bytes(8, "little") + b'{"buffers":[99]}', (16).to_bytes(8, "little") + b'{"buffers":[-8]}']
)  # fmt: skip
def test_damaged_frames_are_refused(server, frame):
    answer = server.send(
        "POST", "/api", frame, content_type="application/octet-stream", x_layerscope_token=server.token
    )
    assert answer.status == 400


def test_who_sends_nothing_or_too_slowly_is_let_go(monkeypatch):
    monkeypatch.setattr(security, "SLOWEST_BODY", 0.3)
    monkeypatch.setattr("layerscope.viewer.listener.SLOWEST_HEADERS", 0.3)
    with served() as server:
        head = (
            f"POST /api HTTP/1.1\r\nhost: 127.0.0.1:{server.port}\r\nx-layerscope-token: {server.token}\r\n"
            "content-type: application/json\r\ncontent-length: 50\r\n\r\n{"
        )
        start = time.monotonic()
        with server.raw(head.encode()) as slow, server.raw(b"GET / HT") as half, server.raw(b"") as silent:
            assert slow.recv(100).startswith(b"HTTP/1.1 408 ")
            assert half.recv(100) == silent.recv(100) == b""
        assert time.monotonic() - start < 8
        until(lambda: server.ask("manifest").status == 200)


def test_a_server_for_every_address_knows_addresses_and_no_other_names():
    gate = Gate("0.0.0.0", 80, token="x")
    assert (
        gate.knows("192.168.0.7")
        and gate.knows("192.168.0.7:80")
        and gate.knows("[fe80::1]")
        and gate.knows("localhost")
    )
    assert not gate.knows("evil.example") and not gate.knows("192.168.0.7:81") and not gate.knows("[evil]")
    one = Gate("192.168.0.7", 8000, token="x")
    assert one.knows("192.168.0.7:8000") and not one.knows("127.0.0.1:8000") and not one.knows("10.0.0.1:8000")


def test_data_and_titles_cannot_leave_their_place():
    hostile = '</script><script>alert(1)</script><!--\u2028"\\'
    text = Document(f"</title>{hostile}", "let program", "").html(json.dumps({hostile: hostile}, ensure_ascii=False))
    assert text.count("<script") == 2 and text.count("</title>") == 1 and "alert(1)</script>" not in text
    (held,) = re.findall('<script type="application/json" id="layerscope-data">(.*?)</script>', text)
    assert json.loads(held) == {hostile: hostile}
