import hashlib
import io
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

import zoo
from tests.reference.published import torchvision_resnet
from tests.support.servers import changed, flipped, rewritten
from tests.zoo.hub.conftest import litter
from zoo._hub import retry
from zoo._loading import fetch


def test_the_first_load_fetches_and_the_second_is_offline(net, files, pth, cache, offline):
    assert pth.loads()
    assert (cache / "zoo" / "files" / pth.sha256).read_bytes() == pth.content
    offline()
    assert pth.loads()
    assert files.count() == 1
    assert litter(cache) == []


def test_importing_the_zoo_imports_neither_torch_nor_the_hubs_client():
    code = "import sys, zoo; assert not {'huggingface_hub', 'torch'} & set(sys.modules)\n"
    code += "import zoo._hub.url_file, zoo._hub.hub_file, zoo._loading.fetch, zoo._loading.repositories\n"
    code += "assert not {'huggingface_hub', 'torch'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_offline_and_not_cached_is_refused_without_the_network(net, files, offline, cache):
    offline()
    with pytest.raises(zoo.WeightsError) as caught:
        zoo.load("net", pretrained=True)
    assert str(caught.value).endswith(
        "HF_HUB_OFFLINE is set, and the file is not in the cache; run `zoo fetch net` with a network."
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


def test_what_was_pinned_is_forgotten_when_it_is_removed(declare, files, pth, cache):
    files.files["/net.pth"] = b"<!doctype html><p>Log in"
    declare(url=f"{files.url}/net.pth", sha256="unattested", layout="torch")
    files.files["/net.pth"], page = pth.content, files.files["/net.pth"]
    files.fault(changed(body=page))
    with pytest.raises(zoo.WeightsError, match=r"'net': .* is a web page; .*`zoo fetch --remove net`"):
        zoo.load("net", pretrained=True)
    fetch.remove("net")
    assert not any(path.is_file() for path in (cache / "zoo").rglob("*"))
    assert pth.loads()


def test_a_manifest_that_differs_from_an_intact_file_does_not_harm_it(net, declare, files, pth, cache):
    assert pth.loads()
    declare(url=files.url + net, sha256=pth.sha256, size=7, layout="torch")
    with pytest.raises(zoo.WeightsError, match=r"has [\d,]+ bytes, expected 7: .* the manifest is wrong"):
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


def test_a_torchvision_file_is_the_published_model(files, use_manifest, cache, offline, monkeypatch):
    monkeypatch.setattr(retry, "LIMITS", retry.Limits())  # it has 45 MB, and the machine may be busy
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
