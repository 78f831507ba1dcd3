import os
import ssl
import time
import urllib.error
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

import zoo
from tests.support.servers import Reply, changed, flipped, rewritten, status
from tests.zoo.hub.conftest import litter
from zoo._hub import cache as hub_cache
from zoo._hub import download, errors, retry

CHUNKED = {"Transfer-Encoding": "chunked"}
FAULTS = {
    "a flipped byte": [rewritten(flipped)],
    "a byte too many, as announced": [rewritten(lambda body: body + b"x")],
    "a byte too few, as announced": [rewritten(lambda body: body[:-1])],
    "a byte too many, unannounced": [
        lambda asked, reply: changed(body=reply.body + b"x", length=None)(asked, reply)
    ],
    "a byte too few, unannounced": [
        lambda asked, reply: changed(body=reply.body[:-1], length=None)(asked, reply)
    ],
    "another announced length": [changed(length=7, cut=7)],
    "a web page instead": [lambda asked, reply: Reply(body=b"<!doctype html><p>Log in")],
    "cut off": [changed(cut=300_000)],
    "cut off at once": [changed(cut=0)],
    "cut off three times": [changed(cut=100_000)] * 3,
    "reset": [changed(cut=200_000, reset=True)],
    "reset before the headers": [changed(reset=True)],
    "silent in mid-body": [changed(cut=50_000, stall=1)],
    "503, 500, 502": [status(503), status(500), status(502)],
    "429": [status(429, Retry_After="0")],
    "429 until a date in the past": [status(429, Retry_After="Mon, 01 Jan 2024 00:00:00 GMT")],
    "429 until no date": [status(429, Retry_After=f"Mon, 01 Jan {'9' * 30} 00:00:00 GMT")],
    "429 until nonsense": [status(429, Retry_After="-5")],
    "408": [status(408)],
    "503 to the resumption": [changed(cut=300_000), status(503)],
    "416 to the resumption": [changed(cut=300_000), status(416)],
    "cut off, unannounced": [changed(cut=300_000, length=None)],
    "cut off in a chunk": [
        lambda asked, reply: Reply(200, CHUNKED, b"fffff\r\n" + reply.body[:99_999], length=None)
    ],
    "chunks of no length": [lambda asked, reply: Reply(200, CHUNKED, b"zz\r\n" + reply.body, length=None)],
    "compressed": [changed(headers={"Content-Encoding": "gzip"})],
    "empty": [changed(body=b"")],
    "a part unasked for": [changed(status=206, headers={"Content-Range": "bytes 0-9/10"}, body=bytes(10))],
    "another part": [
        changed(cut=300_000),
        changed(status=206, headers={"Content-Range": "bytes 200000-200009/409298"}, body=bytes(10)),
    ],
    "other bytes to the resumption": [changed(cut=300_000), rewritten(lambda body: body[::-1])],
    "a hundred headers": [changed(headers={f"X-{number}": "a" for number in range(200)})],
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_what_may_go_better_is_tried_again(fault, net, files, pth, cache):
    files.fault(*fault)
    assert pth.loads()
    assert files.count() == len(fault) + 1
    assert litter(cache) == []


def test_a_broken_connection_is_resumed(net, files, pth):
    files.fault(changed(cut=150_000), changed(cut=150_000))
    assert pth.loads()
    assert [asked.headers.get("range") for asked in files.asked] == [
        None,
        "bytes=150000-",
        "bytes=300000-",
    ]


def test_a_file_that_changes_in_between_is_taken_from_its_beginning(net, files, pth):
    files.files[net] = flipped(pth.content)
    files.fault(changed(cut=150_000), lambda asked, reply: restored(asked, reply))

    def restored(asked, reply):
        files.files[net] = pth.content
        return Reply(200, {"ETag": '"other"'}, pth.content)

    assert pth.loads()
    assert files.count() == 2


def test_a_server_without_ranges_starts_again(net, files, pth):
    files.ranges = False
    files.fault(changed(cut=300_000))
    assert pth.loads()


@pytest.fixture
def part(monkeypatch, cache) -> Path:
    """Returns the part that an interrupted download of the model leaves, however little it is."""

    @contextmanager
    def interrupted(label):
        def report(done, total):
            if done > 100_000:
                raise KeyboardInterrupt

        yield report

    with monkeypatch.context() as patch:
        patch.setattr("zoo._progress.bytes_bar", interrupted)
        patch.setattr("zoo._hub.cache.WORTH", 1)
        with pytest.raises(KeyboardInterrupt):
            zoo.load("net", pretrained=True)
    monkeypatch.setattr("zoo._hub.cache.WORTH", 1)
    (found,) = cache.rglob("*.part")
    return found


def ranges(server):
    return [
        asked.headers.get("range")
        for asked in server.asked
        if asked.method == "GET" and not asked.path.startswith("/api/")
    ]


def test_an_interrupted_download_goes_on_where_it_stopped(net, files, pth, cache, part):
    size = part.stat().st_size
    assert 100_000 < size < len(pth.content)
    assert pth.loads()
    assert ranges(files) == [None, f"bytes={size}-"]
    assert litter(cache) == []


def test_an_interrupted_download_from_the_hub_goes_on_too(hosted, hub, flax, cache, part):
    size = part.stat().st_size
    assert flax.loads()
    assert ranges(hub) == [None, f"bytes={size}-"]
    assert litter(cache) == []


def _set(change):
    return lambda part, pth: part.write_bytes(change(part.read_bytes(), pth.content))


PARTS = {
    "damaged": (_set(lambda part, whole: flipped(part)), [True, False]),
    "longer than the file": (_set(lambda part, whole: whole + b"x"), [False]),
    "all of the file": (_set(lambda part, whole: whole), []),
    "all of the file, damaged": (_set(lambda part, whole: flipped(whole)), [False]),
    "empty": (_set(lambda part, whole: b""), [False]),
}


@pytest.mark.parametrize(("change", "asked"), PARTS.values(), ids=PARTS)
def test_a_part_that_is_wrong_costs_one_more_download(change, asked, net, files, pth, cache, part):
    change(part, pth)
    assert pth.loads()
    assert [each is not None for each in ranges(files)[1:]] == asked
    assert litter(cache) == []


RESUMED = {
    "without ranges": ([lambda asked, reply: Reply(200, reply.headers, reply.body)], 1),
    "with another part": ([changed(status=206, headers={"Content-Range": "bytes 1-9/10"})], 2),
    "not satisfiable": ([status(416)], 2),
    "of another size": ([changed(headers={"Content-Range": "bytes 9-99/100"})], 2),
}


@pytest.mark.parametrize(("fault", "count"), RESUMED.values(), ids=RESUMED)
def test_a_server_that_does_not_go_on_is_asked_for_all(fault, count, net, files, pth, cache, part):
    if count == 1:
        files.ranges = False
    else:
        files.fault(*fault)
    assert pth.loads()
    assert files.count() == 1 + count
    assert litter(cache) == []


def test_after_a_damaged_part_a_server_that_sends_wrong_bytes_is_refused(net, files, pth, cache, part):
    part.write_bytes(flipped(part.read_bytes()))
    files.fault(rewritten(flipped), rewritten(flipped), rewritten(flipped))
    with pytest.raises(zoo.WeightsError, match=r"has sha256 \w{64}, expected \w{64}, twice"):
        zoo.load("net", pretrained=True)
    assert files.count() == 4
    assert litter(cache) == []


def test_a_part_of_other_bytes_is_not_used(cache, monkeypatch):
    monkeypatch.setattr(hub_cache, "WORTH", 1)
    found = []
    for version in ("1", "2", "1", "", ""):
        with suppress(KeyboardInterrupt), hub_cache.partial_file(cache, "an address", version) as file:
            found.append(file.seek(0, os.SEEK_END))
            file.write(b"x")
            raise KeyboardInterrupt
    assert found == [0, 0, 1, 0, 0]
    assert len(hub_cache.parts(cache, "an address")) == 2


def test_parts_that_nobody_comes_back_to_are_removed(hosted, hub, flax, cache, part, declare):
    other = hub.commit("someone/other", {"model.safetensors": flax.content})
    declare(repo="someone/other", revision=other, file="model.safetensors", sha256=flax.sha256)
    assert flax.loads()
    assert part.exists()
    os.utime(part, (time.time() - 8 * 24 * 3600,) * 2)
    for blob in (cache / "hub" / "models--someone--other").rglob("*"):
        blob.is_file() and blob.unlink()
    assert flax.loads()
    assert litter(cache) == []


REFUSED = {
    "a flipped byte, always": ([rewritten(flipped)] * 2, r"has sha256 \w{64}, expected \w{64}, twice"),
    "another length, always": (
        [rewritten(lambda body: body + b"x")] * 2,
        r"has [\d,]+ bytes, expected [\d,]+",
    ),
    "endless": (
        [lambda asked, reply: Reply(body=reply.body * 2, length=None)] * 2,
        r"has more than the expected [\d,]+ bytes, twice",
    ),
    "404": ([status(404)], r"there is no such file \(HTTP 404\)"),
    "410": ([status(410)], r"the file is gone \(HTTP 410\)"),
    "401": ([status(401)], r"it needs a login \(HTTP 401\)"),
    "403": ([status(403)], r"access to it is forbidden \(HTTP 403\)"),
    "503, always": ([status(503)] * 4, r"out of order \(HTTP 503\), attempt 4 of 4; try again later"),
    "cut off, always": (
        [changed(cut=10)] * 4,
        r"the connection broke after 40 of [\d,]+ bytes, attempt 4 of 4",
    ),
    "a day to wait": (
        [status(429, Retry_After="86400")],
        r"too many requests \(HTTP 429\) and asks to wait 86,400 s; try again later",
    ),
    "a date to wait for": (
        [status(503, Retry_After="Fri, 31 Dec 2100 23:59:59 GMT")],
        r"\(HTTP 503\) and asks to wait [\d,]+ s; try again later",
    ),
    "to another protocol": (
        [status(302, Location="ftp://127.0.0.1/net.pth")],
        "redirects to an address that is not of the web",
    ),
    "to a file": (
        [status(302, Location="file:///etc/passwd")],
        "redirects to an address that is not of the web",
    ),
    "to nowhere": ([status(302)], r"or to where no file is \(HTTP 302\)"),
    "to a malformed host": (
        [status(302, Location="http://[::1/net.pth")],
        "the address of the server or of a proxy is malformed",
    ),
    "to a malformed port": (
        [status(302, Location="http://a:b/net.pth")],
        "the address of the server or of a proxy is malformed",
    ),
    "to a name too long": (
        [status(302, Location=f"http://{'a' * 80}/")],
        "the address of the server or of a proxy is malformed",
    ),
    "not modified": ([status(304)], r"\(HTTP 304\)"),
    "202": ([changed(status=202)], r"the server refuses \(HTTP 202\)"),
    "204": ([status(204)], r"the server refuses \(HTTP 204\)"),
    "451": ([status(451)], r"the server refuses \(HTTP 451\)"),
    "compressed, always": (
        [changed(headers={"Content-Encoding": "gzip"})] * 2,
        "it is compressed, which was not asked for, twice",
    ),
    "nothing, always": ([changed(body=b"")] * 2, r"has 0 bytes, expected [\d,]+, twice"),
    "a part that nobody asked for, always": (
        [changed(status=206, headers={"Content-Range": "bytes 9-99/100"})] * 4,
        "sends another part than the one asked for, attempt 4 of 4",
    ),
}


@pytest.mark.parametrize(("fault", "message"), REFUSED.values(), ids=REFUSED)
def test_what_does_not_get_better_is_refused(fault, message, net, files, pth, cache):
    files.fault(*fault)
    with pytest.raises(zoo.WeightsError, match=message) as caught:
        zoo.load("net", pretrained=True)
    assert str(caught.value).startswith(f"'net': {files.url}{net} cannot be fetched: ")
    assert files.count() == len(fault)
    assert [path for path in cache.rglob("*") if path.is_file()] == [cache / "weights_manifest.yaml"]
    assert pth.loads()


def test_a_server_that_breaks_and_cannot_resume_is_not_asked_for_ever(net, files):
    files.ranges = False
    files.fault(changed(cut=300_000), times=99)
    with pytest.raises(zoo.WeightsError, match=r"broke after 300,000 of [\d,]+ bytes, attempt 4 of 4"):
        zoo.load("net", pretrained=True)
    assert files.count() == 4


def test_a_server_that_sends_less_at_a_time_than_is_asked_for_is_asked_again(net, files, pth):
    def capped(asked, reply):
        start = int(asked.headers["range"][6:-1])
        part = f"bytes {start}-{start + 99_999}/{len(pth.content)}"
        return changed(body=reply.body[:100_000], headers={"Content-Range": part})(asked, reply)

    files.fault(changed(cut=50_000), capped, capped)
    assert pth.loads()
    assert [asked.headers.get("range") for asked in files.asked[1:]] == [
        f"bytes={start}-" for start in (50_000, 150_000, 250_000)
    ]


def test_names_and_cookies_that_a_server_offers_are_ignored(net, files, pth, cache):
    offered = {"Content-Disposition": 'attachment; filename="../../../x"', "Set-Cookie": "a=b"}
    files.fault(changed(cut=300_000, headers=offered))
    assert pth.loads()
    assert "cookie" not in files.asked[1].headers
    assert litter(cache) == []
    assert [path.name for path in (cache / "zoo").rglob("*") if path.is_file()] == [pth.sha256]


def test_an_old_server_will_do(net, files, pth, monkeypatch):
    monkeypatch.setattr("tests.support.servers._Handler.protocol_version", "HTTP/1.0")
    files.fault(changed(cut=300_000, length=None))
    assert pth.loads()


def test_an_address_with_letters_beyond_ascii_works(declare, files, pth):
    files.files["/d%C3%A9j%C3%A0-vu.pth"] = pth.content
    declare(url=f"{files.url}/déjà-vu.pth", sha256=pth.sha256, layout="torch")
    assert pth.loads()


def test_a_redirect_is_followed_and_a_loop_is_not(net, files, pth, cache):
    files.fault(status(302, Location="/elsewhere.pth"))
    files.files["/elsewhere.pth"] = pth.content
    assert pth.loads()
    (cache / "zoo" / "files" / pth.sha256).unlink()
    files.fault(status(302, Location=net), times=100)
    with pytest.raises(zoo.WeightsError, match=r"it redirects without end"):
        zoo.load("net", pretrained=True)


def test_an_encrypted_connection_never_becomes_a_plain_one():
    with pytest.raises(errors.RefusedError, match="not encrypted"):
        download.check_move("https://example.org/a", "http://example.org/a")
    download.check_move("http://example.org/a", "https://example.org/a")


def test_a_stalled_connection_ends(net, files, cache):
    files.fault(changed(cut=50_000, stall=30), times=9)
    with pytest.raises(zoo.WeightsError, match=r"the connection timed out, attempt . of 4; try again later"):
        zoo.load("net", pretrained=True)


def test_a_connection_that_only_drips_ends(net, files, cache):
    files.fault(changed(pace=0.3), times=9)
    with pytest.raises(zoo.WeightsError, match="almost nothing arrived in 2 s; try again later"):
        zoo.load("net", pretrained=True)


NETWORK = {
    "no such host": ("https://no-such-host.invalid/net.pth", "the host is not found; check the network"),
    "nobody listens": ("http://127.0.0.1:9/net.pth", "the host refuses connections; check the network"),
}


@pytest.mark.parametrize(("url", "message"), NETWORK.values(), ids=NETWORK)
def test_a_network_that_is_not_there_is_named(url, message, declare, cache):
    declare(url=url, sha256="ab" * 32, layout="torch")
    with pytest.raises(zoo.WeightsError, match=message):
        zoo.load("net", pretrained=True)


def test_a_proxy_is_named(net, cache, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    with pytest.raises(zoo.WeightsError, match="the host refuses connections"):
        zoo.load("net", pretrained=True)


def test_a_certificate_that_is_not_accepted_is_named():
    error = urllib.error.URLError(ssl.SSLCertVerificationError(1, "certificate is not yet valid"))
    assert "certificate is not accepted; check the clock and the proxy" in str(errors.explain(error))
    assert not isinstance(errors.explain(error), errors.TemporaryError)
    tunnel = OSError("Tunnel connection failed: 407 Proxy Authentication Required")
    assert "check it, and the proxy" in str(errors.explain(urllib.error.URLError(tunnel)))


def test_limits_of_the_package_are_set():
    limits = retry.Limits()
    assert 0 < limits.read_timeout < limits.total_timeout < limits.lock_timeout
