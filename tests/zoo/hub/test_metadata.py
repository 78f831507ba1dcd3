import pytest
from huggingface_hub import constants
from huggingface_hub.utils import close_session

import zoo
from tests.support.hub import Hub
from tests.support.servers import Reply, status
from tests.zoo.hub.conftest import FILE, REPO, refused


def test_a_loop_of_the_question_is_refused(hosted, hub):
    hub.fault(
        lambda asked, reply: status(302, Location=hub.url + asked.path)(asked, reply), method="HEAD", times=99
    )
    refused("redirects without end|does not answer as the Hub does")


ACCESS = {
    "no such repository": ({}, None, "there is no repository 'someone/net', or it is private: log in with"),
    "no such repository, logged in": ({}, "right", "there is no repository 'someone/net', or it is private"),
    "private, not logged in": (
        {"private": True},
        None,
        "or it is private: log in with `hf auth login`, or pass",
    ),
    "private, somebody else's token": (
        {"private": True},
        "other",
        "there is no repository .*, or it is private",
    ),
    "gated, not logged in": (
        {"gated": True},
        None,
        r"is gated; ask for access at http://127.*/someone/net, and log",
    ),
    "gated, without access": ({"gated": True}, "other", "'someone/net' is gated; ask for access at"),
    "public, with a bad token": (
        {"public": True},
        "bad",
        r"the token is not valid, and a public repository needs none; log in ",
    ),
}


@pytest.mark.parametrize(("kind", "token", "message"), ACCESS.values(), ids=ACCESS)
def test_what_may_not_be_read_is_explained(kind, token, message, hub, flax, declare):
    secret = token and f"hf_{token}"
    hub.tokens |= {"hf_right", "hf_other"}
    revision = "ab" * 20
    if kind:
        fields = {name: True for name in kind if name != "public"}
        revision = hub.commit(REPO, {FILE: flax.content}, readers={"hf_right"}, **fields)
    declare(repo=REPO, revision=revision, file=FILE, sha256=flax.sha256)
    text = refused(message, token=secret)
    assert secret is None or secret not in text
    if kind:
        assert flax.loads(token=False if "public" in kind else "hf_right")


def test_a_missing_revision_or_file_is_named(hub, flax, declare, commit):
    declare(repo=REPO, revision="ab" * 20, file=FILE, sha256=flax.sha256)
    refused(r"'someone/net' has no revision '(ab){20}'; see http://127.*/someone/net/commits")
    declare(repo=REPO, revision=commit, file="other.safetensors", sha256=flax.sha256)
    refused(rf"'someone/net' has no file 'other.safetensors' at {commit}; see http://127")


def test_the_token_goes_to_the_hub_and_never_to_the_store(hub, flax, declare, monkeypatch):
    hub.tokens.add("hf_right")
    commit = hub.commit(REPO, {FILE: flax.content}, private=True, readers={"hf_right"})
    declare(repo=REPO, revision=commit, file=FILE, sha256=flax.sha256)
    monkeypatch.setenv("HF_TOKEN", "hf_right")
    assert flax.loads()
    assert [asked.token for asked in hub.asked] == ["hf_right", None]


def test_small_files_come_from_the_hub_itself_with_the_token(hub, flax, declare):
    hub.tokens.add("hf_right")
    commit = hub.commit(REPO, {"net.bin": bytes(100)}, private=True, readers={"hf_right"})
    declare(repo=REPO, revision=commit, file="net.bin", sha256="unattested", layout="torch")
    with pytest.raises(zoo.WeightsError, match="no checkpoint of a known format"):
        zoo.load("net", pretrained=True, token="hf_right")
    assert [asked.token for asked in hub.asked] == ["hf_right", "hf_right"]


@pytest.mark.parametrize("token", ["hf_a\n", "hf_ä", "", "hf_a b"])
def test_what_cannot_be_a_token_is_refused_unseen(token, hosted):
    with pytest.raises(zoo.ZooError, match=r"the token holds characters that no token has; copy it again\.$"):
        zoo.load("net", pretrained=True, token=token)


def test_a_token_of_the_environment_that_cannot_be_one_is_refused_unseen(hosted, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_aä")
    refused(r"the token holds characters that no token has; copy it again\.$")


def test_a_login_that_is_not_there_is_named(hosted):
    refused("token=True, and nobody is logged in; log in with", token=True)


ENDPOINTS = {
    "http://127.0.0.1:9": "refuses connections",
    "ftp://a": "HF_ENDPOINT is not the address",
    "not an address": "HF_ENDPOINT is not the address",
    "http://[::1": "HF_ENDPOINT, or a proxy's address, is malformed",
    "http://a:b": "HF_ENDPOINT, or a proxy's address, is malformed",
    "http://a..b": "the address of the server or of a proxy is malformed",
}


@pytest.mark.parametrize(("url", "message"), ENDPOINTS.items())
def test_an_endpoint_that_is_none_is_named(url, message, hosted, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", url)
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    refused(message)


PROXIES = {
    "http://127.0.0.1:9": "refuses connections",
    "http://a:b": "a proxy's address, is malformed",
    "foo://a": "the address of the server or of a proxy is malformed",
    "http://someone:s1gnature@127.0.0.1:9": "refuses connections",
}


@pytest.mark.parametrize(("proxy", "message"), PROXIES.items())
def test_a_proxy_that_is_none_is_named(proxy, message, hosted, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, proxy)
    monkeypatch.setenv("no_proxy", "")
    close_session()
    refused(message)
    close_session()


# Versions of the Hub's client differ in what they say of these themselves.
LOCATIONS = {
    "file:///etc/passwd": "redirects to an address that is not of the web, or not encrypted",
    "ftp://127.0.0.1/x": "redirects to an address that is not of the web|is not the address of a server",
    "http://[::1/x": "the address of the server or of a proxy is malformed|the connection broke",
    "http://a:b/x": "the address of the server or of a proxy is malformed|the connection broke",
    "http://a..b/x": "the address of the server or of a proxy is malformed",
    "/nowhere": r"there is no such file \(HTTP 404\)",
}


@pytest.mark.parametrize(("location", "message"), LOCATIONS.items())
def test_a_store_that_is_none_is_refused(location, message, hosted, hub):
    hub.fault(
        lambda asked, reply: Reply(302, {**reply.headers, "Location": f"{location}?X={Hub.SECRET}"}),
        method="HEAD",
        times=9,
    )
    refused(message)


def test_an_encrypted_hub_sends_nobody_to_a_plain_store(hosted, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", "https://127.0.0.1")
    refused("redirects to an address that is not of the web, or not encrypted")


@pytest.mark.parametrize("elsewhere", ["http://localhost:{port}/elsewhere", "/elsewhere"])
def test_the_token_does_not_follow_a_redirection(elsewhere, hub, declare, monkeypatch):
    hub.tokens.add("hf_right")
    commit = hub.commit(REPO, {"net.bin": bytes(100)}, private=True, readers={"hf_right"})
    declare(repo=REPO, revision=commit, file="net.bin", sha256="unattested", layout="torch")
    hub.fault(status(302, Location=elsewhere.format(port=hub.port)), path="net.bin")
    refused(r"there is no such file \(HTTP 404\)", token="hf_right")
    assert [asked.token for asked in hub.asked] == ["hf_right", "hf_right", None]
