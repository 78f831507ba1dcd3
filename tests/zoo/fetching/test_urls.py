import errno
import hashlib
import io
import os
import ssl
import subprocess
import sys
import urllib.error
import urllib.request

import numpy as np
import pytest
import torch

import zoo
from tests.published import torchvision_resnet
from tests.servers import Reply, changed, flipped, rewritten, status
from tests.zoo.fetching.conftest import litter
from zoo import _cache, _patience


@pytest.fixture
def net(declare, files, pth):
    """The model at an address of the server, whose file name carries the first digits of its hash."""
    path = f"/models/net-{pth.sha256[:8]}.pth"
    files.files[path] = pth.content
    declare(url=files.url + path, sha256=pth.sha256, size=len(pth.content), layout="torch")
    return path


def test_the_first_load_fetches_and_the_second_is_offline(net, files, pth, cache, offline):
    assert pth.loads()
    assert (cache / "zoo" / "files" / pth.sha256).read_bytes() == pth.content
    offline()
    assert pth.loads()
    assert files.count() == 1
    assert litter(cache) == []


def test_importing_the_zoo_imports_neither_torch_nor_the_hubs_client():
    code = "import sys, zoo; assert not {'huggingface_hub', 'torch'} & set(sys.modules)\n"
    code += "import zoo._urls, zoo._hub_cache, zoo._fetching, zoo._repositories\n"
    code += "assert not {'huggingface_hub', 'torch'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


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
    "408": [status(408)],
    "503 to the resumption": [changed(cut=300_000), status(503)],
    "416 to the resumption": [changed(cut=300_000), status(416)],
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
    "to another protocol": ([status(302, Location="ftp://127.0.0.1/net.pth")], "not encrypted"),
    "to a file": ([status(302, Location="file:///etc/passwd")], r"or to where no file is \(HTTP 302\)"),
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


def test_an_address_with_letters_beyond_ascii_works(declare, files, pth):
    files.files["/d%C3%A9j%C3%A0-vu.pth"] = pth.content
    declare(url=f"{files.url}/déjà-vu.pth", sha256=pth.sha256, layout="torch")
    assert pth.loads()


def test_a_file_system_without_locks_is_no_obstacle(net, files, pth, cache, monkeypatch):
    def refuse(fd, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    assert pth.loads()
    assert litter(cache) == []


def test_a_cache_that_may_only_be_read_serves_and_is_named_where_it_cannot(
    net, files, pth, cache, monkeypatch
):
    assert pth.loads()

    def refuse(path, flags, mode=0o777):
        if flags & os.O_CREAT:
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return real(path, flags, mode)

    real = os.open
    monkeypatch.setattr(os, "open", refuse)
    assert pth.loads()
    (cache / "zoo" / "files" / pth.sha256).write_bytes(flipped(pth.content))
    with pytest.raises(
        zoo.WeightsError, match=r"has sha256 .*, and cannot be put aside: .*Permission denied"
    ):
        zoo.load("net", pretrained=True)


def test_a_redirect_is_followed_and_a_loop_is_not(net, files, pth, cache):
    files.fault(status(302, Location="/elsewhere.pth"))
    files.files["/elsewhere.pth"] = pth.content
    assert pth.loads()
    (cache / "zoo" / "files" / pth.sha256).unlink()
    files.fault(status(302, Location=net), times=100)
    with pytest.raises(zoo.WeightsError, match=r"it redirects without end"):
        zoo.load("net", pretrained=True)


def test_an_encrypted_connection_never_becomes_a_plain_one():
    from zoo._download import _Redirects

    request = urllib.request.Request("https://example.org/a")
    with pytest.raises(_patience.RefusedError, match="not encrypted"):
        _Redirects().redirect_request(request, None, 302, "", {}, "http://example.org/a")


def test_a_stalled_connection_ends(net, files, cache):
    files.fault(changed(cut=50_000, stall=30), times=9)
    with pytest.raises(
        zoo.WeightsError, match=r"the connection fell silent, attempt . of 4; try again later"
    ):
        zoo.load("net", pretrained=True)


def test_a_connection_that_only_drips_ends(net, files, cache):
    files.fault(changed(pace=0.3), times=9)
    with pytest.raises(zoo.WeightsError, match="next to nothing came in 2 s; try again later"):
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
    assert "certificate is not accepted; check the clock and the proxy" in str(_patience.meaning(error))
    assert not _patience.meaning(error).again
    tunnel = OSError("Tunnel connection failed: 407 Proxy Authentication Required")
    assert "check it, and the proxy" in str(_patience.meaning(urllib.error.URLError(tunnel)))


def test_offline_and_not_cached_is_refused_without_the_network(net, files, offline, cache):
    offline()
    with pytest.raises(zoo.WeightsError) as caught:
        zoo.load("net", pretrained=True)
    assert str(caught.value).endswith(
        "HF_HUB_OFFLINE is set, and it is not in the cache; run `zoo fetch net` with a network."
    )
    assert files.asked == []


DAMAGE = {
    "flipped": flipped,
    "cut off": lambda content: content[:-1],
    "longer": lambda content: content + b"x",
    "empty": lambda content: b"",
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_file_in_the_cache_is_mended(damage, net, files, pth, cache):
    assert pth.loads()
    path = cache / "zoo" / "files" / pth.sha256
    path.write_bytes(damage(pth.content))
    assert pth.loads()
    assert files.count() == 2
    assert path.read_bytes() == pth.content
    assert litter(cache) == []


def test_offline_a_damaged_file_is_named_and_refused_at_every_load(net, files, pth, cache, offline):
    assert pth.loads()
    path = cache / "zoo" / "files" / pth.sha256
    path.write_bytes(flipped(pth.content))
    offline()
    with pytest.raises(
        zoo.WeightsError, match=rf"{path}' has sha256 \w+, expected \w+; .* cannot be fetched: HF_"
    ):
        zoo.load("net", pretrained=True)
    with pytest.raises(zoo.WeightsError, match=rf"{path}.damaged' is damaged; .* cannot be fetched: HF_"):
        zoo.load("net", pretrained=True)
    assert files.count() == 1


def test_a_prefix_of_the_hash_suffices_and_the_rest_is_pinned(declare, files, pth, cache, offline):
    path = f"/net-{pth.sha256[:8]}.pth"
    files.files[path] = pth.content
    declare(url=files.url + path, sha256=pth.sha256[:8], layout="torch")
    assert pth.loads()
    offline()
    assert pth.loads()
    assert files.count() == 1
    assert litter(cache) == []
    (pin,) = (cache / "zoo" / "pins").iterdir()
    pin.write_text("garbage")
    with pytest.raises(zoo.WeightsError, match="not in the cache"):
        zoo.load("net", pretrained=True)


def test_a_prefix_that_does_not_fit_is_refused(declare, files, pth, cache):
    path = f"/net-{pth.sha256[:8]}.pth"
    files.files[path] = flipped(pth.content)
    declare(url=files.url + path, sha256=pth.sha256[:8], layout="torch")
    with pytest.raises(zoo.WeightsError, match=rf"has sha256 \w{{64}}, expected {pth.sha256[:8]}, twice"):
        zoo.load("net", pretrained=True)


def test_an_unattested_file_stays_what_it_was_at_first(declare, files, pth, cache):
    files.files["/net.pth"] = pth.content
    declare(url=f"{files.url}/net.pth", sha256="unattested", layout="torch")
    assert pth.loads()
    (cache / "zoo" / "files" / pth.sha256).unlink()
    files.files["/net.pth"] = flipped(pth.content)
    with pytest.raises(zoo.WeightsError, match=rf"expected {pth.sha256}, twice"):
        zoo.load("net", pretrained=True)


def test_a_manifest_that_differs_from_an_intact_file_does_not_harm_it(net, declare, files, pth, cache):
    assert pth.loads()
    declare(url=files.url + net, sha256=pth.sha256, size=7, layout="torch")
    with pytest.raises(zoo.WeightsError, match=r"has [\d,]+ bytes, expected 7: .* and the manifest differs"):
        zoo.load("net", pretrained=True)
    assert (cache / "zoo" / "files" / pth.sha256).exists()


def test_a_pickle_in_place_of_safetensors_is_refused_by_its_content(declare, files, pth, cache):
    files.files["/net.safetensors"] = pth.content
    declare(url=f"{files.url}/net.safetensors", sha256=pth.sha256, layout="torch")
    with pytest.raises(zoo.WeightsError, match=r"is a PyTorch zip archive, which its suffix '.safetensors'"):
        zoo.load("net", pretrained=True)


def test_a_pickle_that_runs_a_program_is_refused(declare, files, cache):
    content = b"\x80\x02cposix\nsystem\nX\x04\x00\x00\x00trueq\x00\x85q\x01Rq\x02." + bytes(100)
    digest = hashlib.sha256(content).hexdigest()
    files.files["/net.pth"] = content
    declare(url=f"{files.url}/net.pth", sha256=digest, layout="torch")
    with pytest.raises(zoo.WeightsError, match=r"posix\.system|posix system"):
        zoo.load("net", pretrained=True)


def test_secrets_in_an_address_stay_out_of_messages(declare, files, pth, cache):
    declare(url=f"{files.url}/net.pth?signature=s1gnature", sha256=pth.sha256, layout="torch")
    with pytest.raises(
        zoo.WeightsError, match=r"net\.pth cannot be fetched: there is no such file"
    ) as caught:
        zoo.load("net", pretrained=True)
    assert "s1gnature" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("size", [10**15, None], ids=["by the manifest", "by the server"])
def test_a_disk_without_room_is_refused_before_the_first_byte(size, declare, files, pth, cache):
    files.files["/net.pth"] = pth.content
    files.fault(changed(length=10**15), times=3)
    sizes = {} if size is None else {"size": size}
    declare(url=f"{files.url}/net.pth", sha256=pth.sha256, layout="torch", **sizes)
    with pytest.raises(
        zoo.WeightsError, match=r"cannot be kept: needs 1,0{3},.* ZOO_CACHE and HF_HOME choose"
    ):
        zoo.load("net", pretrained=True)
    assert litter(cache) == []


FULL = """
import resource, signal, sys, zoo
from pathlib import Path
from zoo import _manifest, mlp
_manifest._packaged = lambda: _manifest.read(Path(sys.argv[1]))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
try:
    zoo.load("net", pretrained=True)
except zoo.WeightsError as error:
    assert "cannot be kept: " in str(error) and "File too large" in str(error), error
else:
    raise AssertionError
"""


def test_a_disk_that_fills_up_leaves_nothing(net, cache):
    subprocess.run([sys.executable, "-c", FULL, str(cache / "weights_manifest.yaml")], check=True)
    assert litter(cache) == []
    assert list((cache / "zoo" / "files").iterdir()) == []


def test_a_cache_that_is_a_file_or_not_writable_is_named(net, cache, monkeypatch):
    (cache / "occupied").write_text("")
    for place in ("occupied", "occupied/below"):
        monkeypatch.setenv("ZOO_CACHE", str(cache / place))
        with pytest.raises(
            zoo.WeightsError, match=r"(File exists|Not a directory); set ZOO_CACHE to a directory"
        ):
            zoo.load("net", pretrained=True)
    monkeypatch.setenv("ZOO_CACHE", "/proc/zoo")
    with pytest.raises(zoo.WeightsError, match=r"/proc/zoo.*; set ZOO_CACHE to a directory"):
        zoo.load("net", pretrained=True)


def test_the_cache_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("ZOO_CACHE", "~/a")
    assert _cache.root() == tmp_path.home() / "a"
    monkeypatch.delenv("ZOO_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert _cache.root() == tmp_path / "flax-zoo"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert _cache.root() == tmp_path.home() / ".cache" / "flax-zoo"


def test_a_torchvision_file_is_the_published_model(declare, files, use_manifest, cache, tmp_path, offline):
    torch.manual_seed(0)
    twin = torchvision_resnet("resnet18", num_classes=10).eval()
    stream = io.BytesIO()
    torch.save(twin.state_dict(), stream)
    content = stream.getvalue()
    digest = hashlib.sha256(content).hexdigest()
    path = f"/models/resnet18-{digest[:8]}.pth"
    files.files[path] = content
    use_manifest(
        "models: {net: {family: resnet, config: {depth: 18, num_classes: 10}, license: a, source: a, "
        "inputs: [{name: images, shape: [1, 64, 48, 3], dtype: float32}], num_params: 11181642, "
        f"layout: torchvision, weights: {{url: '{files.url}{path}', sha256: '{digest[:8]}'}}}}}}"
    )
    images = np.random.default_rng(0).random((2, 64, 48, 3), np.float32)
    with torch.no_grad():
        expected = twin(torch.from_numpy(images.transpose(0, 3, 1, 2).copy())).numpy()
    files.fault(rewritten(lambda body: flipped(body, 20_000_000)))
    first = zoo.load("net", pretrained=True)
    assert files.count() == 2
    offline()
    second = zoo.load("net", pretrained=True)
    for model in (first, second):
        np.testing.assert_allclose(model(images), expected, atol=1e-5 * np.abs(expected).max())
    assert files.count() == 2
    assert os.listdir(cache / "zoo" / "files") == [digest]
