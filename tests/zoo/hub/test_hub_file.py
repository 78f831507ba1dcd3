import os
import shutil

import pytest
from huggingface_hub import constants, hf_hub_download, scan_cache_dir

import zoo
from tests.support.servers import Reply, changed, flipped, rewritten, status
from tests.zoo.hub.conftest import FILE, REPO, blob, litter, refused
from zoo._loading import fetch


def test_the_first_load_fetches_and_the_second_is_offline(hosted, hub, flax, cache, offline):
    assert flax.loads()
    offline()
    assert flax.loads()
    assert (hub.count("HEAD"), hub.count(path="/store/")) == (1, 1)
    assert litter(cache) == []


def test_the_file_is_in_the_hubs_own_cache(hosted, commit, hub, flax, cache, offline):
    assert flax.loads()
    offline()
    path = hf_hub_download(REPO, FILE, revision=commit)
    assert os.path.realpath(path) == str(blob(cache, flax))
    (repository,) = scan_cache_dir(constants.HF_HUB_CACHE).repos
    assert (repository.repo_id, repository.size_on_disk) == (REPO, len(flax.content))


def test_what_the_hubs_own_client_has_fetched_is_used(hosted, commit, hub, flax, cache, offline):
    hf_hub_download(REPO, FILE, revision=commit)
    before = len(hub.asked)
    assert flax.loads()
    assert len(hub.asked) == before


def test_a_cache_without_links_works(hosted, hub, flax, cache, offline, monkeypatch):
    def refuse(self, target):
        raise OSError("no links here")

    monkeypatch.setattr("pathlib.Path.symlink_to", refuse)
    assert flax.loads()
    offline()
    assert flax.loads()
    (path,) = (each for each in (cache / "hub").rglob(FILE))
    path.write_bytes(flipped(flax.content))
    refused("has sha256")


FAULTS = {
    "a flipped byte": [("GET", rewritten(flipped))],
    "a byte too many": [("GET", rewritten(lambda body: body + b"x"))],
    "a byte too few": [("GET", rewritten(lambda body: body[:-1]))],
    "cut off every 100 kB": [("GET", changed(cut=100_000))] * 3,
    "silent in mid-body": [("GET", changed(cut=50_000, stall=1))],
    "503 and 429 on the body": [("GET", status(503)), ("GET", status(429, Retry_After="0"))],
    "500 twice on the question": [("HEAD", status(500)), ("HEAD", status(500))],
    "silence on the question": [("HEAD", lambda asked, reply: Reply(late=1))],
    "no connection on the question": [("HEAD", changed(reset=True))],
    "another hash announced": [
        ("HEAD", lambda asked, reply: Reply(302, {**reply.headers, "X-Linked-Etag": f'"{"ab" * 32}"'}))
    ],
}


@pytest.mark.parametrize("faults", FAULTS.values(), ids=FAULTS)
def test_what_may_go_better_is_tried_again(faults, hosted, hub, flax, cache):
    for method, fault in faults:
        hub.fault(fault, method=method)
    assert flax.loads()
    assert litter(cache) == []


def test_an_address_that_expired_before_the_resumption_is_asked_for_again(hosted, hub, flax):
    def expire(asked, reply):
        hub.signatures.clear()
        return changed(cut=100_000)(asked, reply)

    hub.fault(expire)
    assert flax.loads()
    assert hub.count("HEAD") == 2
    assert [asked.headers.get("range") for asked in hub.asked if asked.method == "GET"] == [
        None,
        "bytes=100000-",
    ]


def test_an_address_that_is_refused_is_asked_for_again(hosted, hub, flax):
    hub.fault(status(403), path="/store/")
    assert flax.loads()
    assert hub.count("HEAD") == 2


REFUSED = {
    "503 for ever": (("HEAD", status(503), 9), r"out of order \(HTTP 503\), attempt 4 of 4; try again later"),
    "503 on the body for ever": (("GET", status(503), 9), r"\(HTTP 503\), attempt 4 of 4; try again later"),
    "a day to wait": (("HEAD", status(429, Retry_After="86400"), 9), r"\(HTTP 429\)"),
    "a day to wait for the body": (("GET", status(429, Retry_After="86400"), 9), "asks to wait 86,400 s"),
    "a loop": (
        ("GET", lambda asked, reply: status(302, Location=asked.path)(asked, reply), 99),
        "redirects without end",
    ),
    "addresses that never work": (
        ("GET", status(403), 9),
        r"signed address is refused \(HTTP 403\), attempt 4 of 4",
    ),
    "other bytes": (("GET", rewritten(flipped), 9), r"has sha256 \w{64}, expected \w{64}, twice"),
    "another commit": (
        ("HEAD", lambda asked, reply: Reply(302, {**reply.headers, "X-Repo-Commit": "ab" * 20}), 9),
        "gives it at commit (ab){20}, and not at the one asked for",
    ),
    "no hub": (
        ("HEAD", lambda asked, reply: Reply(200), 9),
        "does not answer as the Hub does; check HF_ENDPOINT",
    ),
    "silence": (
        ("HEAD", lambda asked, reply: Reply(late=9), 9),
        r"the connection timed out, attempt \d of 4",
    ),
}


@pytest.mark.parametrize(("fault", "message"), REFUSED.values(), ids=REFUSED)
def test_what_does_not_get_better_is_refused(fault, message, hosted, hub, flax, cache):
    method, reply, times = fault
    hub.fault(reply, method=method, times=times)
    text = refused(message)
    assert text.startswith("'net': someone/net@")
    assert not any(path.is_file() for path in (cache / "hub").rglob("*"))


def test_a_renamed_repository_is_followed(hub, flax, declare, commit):
    hub.repositories["other/net"] = hub.repositories[REPO]
    declare(repo=REPO, revision=commit, file=FILE, sha256=flax.sha256)
    location = f"/other/net/resolve/{commit}/{FILE}"
    hub.fault(status(307, Location=location), method="HEAD")
    assert flax.loads()


def test_offline_and_not_cached_is_refused_without_the_network(hosted, hub, offline):
    offline()
    refused("HF_HUB_OFFLINE is set, and the file is not in the cache; run `zoo fetch net` with a network")
    assert hub.asked == []


def test_a_hub_that_is_down_does_not_matter_once_the_file_is_cached(hosted, hub, flax):
    assert flax.loads()
    hub.fault(status(503), method="HEAD", times=99)
    assert flax.loads()


@pytest.mark.parametrize("damage", [flipped, lambda content: content[:-1]], ids=["flipped", "cut off"])
def test_a_damaged_file_in_the_cache_is_mended(damage, hosted, hub, flax, cache):
    assert flax.loads()
    blob(cache, flax).write_bytes(damage(flax.content))
    assert flax.loads()
    assert hub.count(path="/store/") == 2
    assert blob(cache, flax).read_bytes() == flax.content
    assert litter(cache) == []


def test_offline_a_damaged_file_is_named_and_refused(hosted, hub, flax, cache, offline):
    assert flax.loads()
    blob(cache, flax).write_bytes(flipped(flax.content))
    offline()
    refused(rf"{FILE}' has sha256 \w+, expected \w+; .* cannot be fetched: HF_HUB_OFFLINE")
    refused(rf"{blob(cache, flax)}.damaged' is damaged; .* cannot be fetched: HF_HUB_OFFLINE")


def test_a_link_that_leads_nowhere_is_mended(hosted, hub, flax, cache):
    assert flax.loads()
    blob(cache, flax).unlink()
    assert flax.loads()
    assert litter(cache) == []


def test_a_manifest_that_differs_from_the_hub_does_not_harm_its_cache(
    hosted, commit, declare, hub, flax, cache
):
    assert flax.loads()
    declare(repo=REPO, revision=commit, file=FILE, sha256="ab" * 32)
    refused(r"has sha256 \w+, expected (ab){32}: the file is intact, so someone/net@.* serves another one")
    assert blob(cache, flax).read_bytes() == flax.content


def test_an_unattested_file_is_what_the_hub_says_and_stays_that(commit, declare, hub, flax, cache, offline):
    declare(repo=REPO, revision=commit, file=FILE, sha256="unattested")
    assert flax.loads()
    shutil.rmtree(cache / "hub")
    other = flipped(flax.content)
    hub.repositories[REPO].commits[commit][FILE] = other
    refused(rf"has sha256 \w+, expected {flax.sha256}, twice")
    hub.repositories[REPO].commits[commit][FILE] = flax.content
    assert flax.loads()
    offline()
    assert flax.loads()


def test_an_unattested_commit_is_the_first_one_that_is_used_and_stays_that(
    commit, declare, hub, flax, cache, offline
):
    declare(repo=REPO, revision="unattested", file=FILE, sha256="unattested")
    assert zoo.info("net").weights.revision == "unattested"
    assert zoo.load("net").variables  # neither asks the Hub
    assert not hub.asked
    assert flax.loads()
    hub.commit(REPO, {FILE: flipped(flax.content)})  # its main branch moves on
    assert flax.loads()
    shutil.rmtree(cache / "hub")
    assert flax.loads()
    assert fetch.cached("net")[0].path.split("/snapshots/")[1] == f"{commit}/{FILE}"
    offline()
    assert flax.loads()
    shutil.rmtree(cache / "zoo")  # what other programs have put into the Hub's cache is used, too
    (cache / "hub" / "models--someone--net" / "refs").mkdir()
    (cache / "hub" / "models--someone--net" / "refs" / "main").write_text(commit)
    assert flax.loads()
    assert fetch.remove("net").size == len(flax.content)
    assert not [*(cache / "zoo" / "commits").iterdir()]
    (cache / "hub" / "models--someone--net" / "refs" / "main").unlink()
    refused("the network is not to be used|offline|HF_HUB_OFFLINE")


def test_an_unattested_file_that_is_not_what_the_hub_says_is_refused(commit, declare, hub, flax):
    declare(repo=REPO, revision=commit, file=FILE, sha256="unattested")
    hub.fault(rewritten(flipped), times=2)
    refused(rf"has sha256 \w+, expected {flax.sha256}, twice")
    hub.fault(lambda asked, reply: Reply(302, {**reply.headers, "X-Linked-Etag": '"weak"'}), method="HEAD")
    refused("gives no hash of it, nor does the manifest, so it cannot be verified")


def test_a_pickle_in_place_of_safetensors_is_refused_by_its_content(hub, declare, pth):
    commit = hub.commit(REPO, {FILE: pth.content})
    declare(repo=REPO, revision=commit, file=FILE, sha256=pth.sha256, layout="torch")
    with pytest.raises(zoo.WeightsError, match=r"is a PyTorch zip archive, which its suffix '.safetensors'"):
        zoo.load("net", pretrained=True)


def test_a_cache_that_is_a_file_is_named(hosted, cache, monkeypatch):
    (cache / "occupied").write_text("")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache / "occupied"))
    with pytest.raises(zoo.WeightsError, match=r"(Not a directory|File exists); set HF_HOME to a directory"):
        zoo.load("net", pretrained=True)


def test_the_same_bytes_at_another_commit_are_not_fetched_again(hosted, hub, flax, declare, cache, offline):
    assert flax.loads()
    newer = hub.commit(REPO, {"README.md": b"new"})
    for sha256 in (flax.sha256, "unattested"):
        declare(repo=REPO, revision=newer, file=FILE, sha256=sha256)
        assert flax.loads()
    assert hub.count(path="/store/") == 1
    offline()
    assert flax.loads()
    assert os.path.realpath(hf_hub_download(REPO, FILE, revision=newer)) == str(blob(cache, flax))


def test_damaged_bytes_of_another_commit_are_mended(hosted, hub, flax, declare, cache):
    assert flax.loads()
    blob(cache, flax).write_bytes(flipped(flax.content))
    newer = hub.commit(REPO, {"README.md": b"new"})
    declare(repo=REPO, revision=newer, file=FILE, sha256=flax.sha256)
    assert flax.loads()
    assert hub.count(path="/store/") == 2
    assert litter(cache) == []
