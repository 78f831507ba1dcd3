"""Faults while one publishes: the repository holds the old state or the complete new one."""

import errno
import shutil
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from huggingface_hub import constants

import zoo
from tests.support.hub import Hub
from tests.support.servers import Reply, changed, flipped, rewritten, status
from tests.zoo.publishing.conftest import FILES, OLD, REPO, TOKEN, Net, same
from zoo._publishing import hub_client

pytestmark = pytest.mark.costly


@dataclass(frozen=True)
class Fault:
    """A fault.

    Attributes:
        arrange: Called with the server and monkeypatch.
        message: Of the refusal, a regular expression; None where the publication succeeds.
        options: Of the publication, besides force=True.
        new: If true, the repository then holds the new state although it was refused.
        silent: If true, nothing but questions may be sent.
    """

    arrange: Callable[[Hub, Any], None]
    message: str | None = None
    options: dict[str, Any] | None = None
    new: bool = False
    silent: bool = False


def login(**fields: Any) -> Callable[[Hub, Any], None]:
    """Somebody else's token, or one that may do less."""
    return lambda hub, patch: hub.member(TOKEN, **{"name": "you", **fields}) and None


def reply(code: int, path: str, *, times: int = 1, method: str = "POST", **headers: object) -> Any:
    """An answer instead of what would happen."""

    def arrange(hub: Hub, patch: Any) -> None:
        for _ in range(times):
            hub.before(lambda asked: status(code, **headers)(asked, Reply()), path=path, method=method)

    return arrange


def lost(path: str, *faults: Any, method: str = "POST") -> Any:
    """It happens, and the answer goes wrong."""
    return lambda hub, patch: hub.fault(*faults, method=method, path=path)


def both(*arrangements: Any) -> Any:
    def arrange(hub: Hub, patch: Any) -> None:
        for each in arrangements:
            each(hub, patch)

    return arrange


def somebody_commits(hub: Hub, patch: Any) -> None:
    hub.before(lambda asked: hub.commit(REPO, {"theirs": b"x"}) and None, path="/commit/")


def quota(asked: Any, answer: Reply) -> Reply:
    error = b'{"code": 402, "message": "Over the quota of hf_x"}'
    return Reply(200, {}, b'{"objects": [{"oid": "ab", "size": 1, "error": ' + error + b"}]}")


def public(hub: Hub, patch: Any) -> None:
    hub.repositories[REPO].private = False


def no_token(hub: Hub, patch: Any) -> None:
    patch.delenv("HF_TOKEN")


def tagged(hub: Hub, patch: Any) -> None:
    hub.repositories[REPO].refs["v1"] = hub.commit(REPO, {})


def disk_full(hub: Hub, patch: Any) -> None:
    usage = shutil.disk_usage("/")
    patch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=10))


def write_fails(hub: Hub, patch: Any) -> None:
    def fail(path: object, *arguments: object, **options: object) -> None:
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    patch.setattr("pathlib.Path.write_text", fail)


def impatient(hub: Hub, patch: Any) -> None:
    patch.setattr(hub_client, "ANSWER", 0.3)
    hub.fault(changed(late=2), method="POST", path="/commit/")


NAN = zoo.Model(Net(), {"params": {"kernel": np.full((2, 2), np.nan)}})
FAULTS = {
    # who one is: asked before anything is hashed
    "read-only token": Fault(login(role="read"), "the token may only read; make one", silent=True),
    "somebody else": Fault(
        login(name="other"), "the token belongs to 'other', who is not in 'you'", silent=True
    ),
    "a member who may read": Fault(
        login(name="me", orgs={"you": "read"}), "'me' may only read in 'you'", silent=True
    ),
    "a token for others": Fault(
        login(role="fineGrained", scopes={"them": ["repo.write"]}), "no right to write", silent=True
    ),
    "expired token": Fault(lambda hub, patch: hub.accounts.clear(), "the token is not valid", silent=True),
    "no token": Fault(no_token, "publishing needs a token; log in with", silent=True),
    "token=False": Fault(lambda hub, patch: None, "publishing needs a token", {"token": False}, silent=True),
    "no token at all": Fault(
        lambda hub, patch: None, "characters that no token has", {"token": "hf_a\n"}, silent=True
    ),
    "offline": Fault(
        lambda hub, patch: patch.setattr(constants, "HF_HUB_OFFLINE", True),
        "HF_HUB_OFFLINE is set",
        silent=True,
    ),
    "no such host": Fault(
        lambda hub, patch: patch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9"), "refuses connections"
    ),
    # what the repository is
    "public, and private was asked": Fault(public, "is public, and you asked for private", silent=True),
    "private, and public was asked": Fault(
        lambda hub, patch: None, "is private, and you asked for public", {"private": False}, silent=True
    ),
    "other content": Fault(
        lambda hub, patch: None,
        r"other content.*\n  changed  README\.md\n  changed  model\.safetensors\n  removed  extra\.txt\npass",
        {"force": False},
    ),
    "the tag exists": Fault(tagged, "has a tag 'v1' already, at", {"tag": "v1"}),
    "no tag's name": Fault(lambda hub, patch: None, "'a b' is no tag's name", {"tag": "a b"}, silent=True),
    "no repository's name": Fault(
        lambda hub, patch: None, "'https://x/y/z' is no repo", {"repo": "https://x/y/z"}, silent=True
    ),
    "the head cannot be read": Fault(
        reply(500, "/api/models", method="GET", times=2), r"'you/net' cannot be looked up.*\(HTTP 500\)"
    ),
    # what is published
    "NaN": Fault(lambda hub, patch: None, "has NaN or infinity in", {"model": NAN}, silent=True),
    "no room": Fault(disk_full, "needs .* bytes, the disk has 10 free", silent=True),
    "quota of the disk": Fault(write_fails, "cannot be prepared: .*quota exceeded; ZOO_CACHE", silent=True),
    "an empty file": Fault(
        lambda hub, patch: patch.setattr("zoo._publishing.model_card.card", lambda staged, repo: ""),
        "'README.md' is no regular file with content",
    ),
    "the card is refused": Fault(
        lambda hub, patch: hub.before(
            lambda asked: Reply(400, {}, b'{"errors": [{"message": "tags must be a list"}]}'), path="yaml"
        ),
        "the model card is not right: the Hub refuses: .*tags must be",
    ),
    # the upload
    "upload: 500 once": Fault(reply(500, "/upload/", method="PUT")),
    "upload: reset once": Fault(lost("/upload/", changed(reset=True), method="PUT")),
    "upload: 500 for ever": Fault(
        reply(500, "/upload/", method="PUT", times=9), r"out of order \(HTTP 500\)"
    ),
    "upload: wait a day": Fault(
        reply(503, "/upload/", method="PUT", Retry_After=86400), r"out of order \(HTTP 503\); try again later"
    ),
    "upload: 429, in a day": Fault(
        reply(429, "/upload/", method="PUT", times=9, RateLimit='"api";r=0;t=86400'), "too many requests"
    ),
    "upload: the address expired": Fault(
        reply(403, "/upload/", method="PUT"), r"the upload's address is not valid \(any more\) \(HTTP 403"
    ),
    "upload: other bytes": Fault(
        reply(400, "/upload/", method="PUT", X_Error_Message="checksum, hf_secret"),
        r"HTTP 400: checksum, \.\.\.",
    ),
    "upload: 413": Fault(reply(413, "/upload/", method="PUT"), "takes no files so large"),
    "uploads: 402": Fault(
        reply(402, "/objects/batch", X_Error_Message="Over the quota"),
        r"storage .* is full.*: Over the quota",
    ),
    "uploads: over the quota": Fault(lost("/objects/batch", quota), r"Over the quota of \.\.\."),
    "uploads: no answer": Fault(
        lost("/objects/batch", changed(body=b"<html>")), "does not answer as the Hub"
    ),
    "not arrived": Fault(reply(404, "/verify"), "HTTP 404"),
    "may not write": Fault(
        reply(403, "/preupload/", X_Error_Message="no right"), r"may not write it \(HTTP 403: no right\)"
    ),
    # the commit
    "commit: 503 before it": Fault(
        reply(503, "/commit/"), r"nothing was committed: .*\(HTTP 503\).* is as it was, at"
    ),
    "commit: 503 after it": Fault(lost("/commit/", status(503))),
    "commit: reset after it": Fault(lost("/commit/", changed(reset=True))),
    "commit: no answer after it": Fault(lost("/commit/", changed(body=b"<html>"))),
    "commit: cut after it": Fault(lost("/commit/", changed(cut=5))),
    "commit: silence after it": Fault(impatient),
    "commit: 503 after it, and then silence": Fault(
        both(lost("/commit/", status(503)), reply(500, "/commits/main", method="GET", times=2)),
        "Look at http.*/you/net/commits/main for the commit",
        new=True,
    ),
    "somebody commits in between": Fault(
        somebody_commits,
        r"somebody else has changed it meanwhile.*HTTP 412.* is at \w{40}, which is not this",
    ),
    # afterwards
    "other bytes come back": Fault(
        lost("/store/", rewritten(flipped), rewritten(flipped), method="GET"),
        "cannot be verified: it has",
        new=True,
    ),
    "other bytes come back once": Fault(lost("/store/", rewritten(flipped), method="GET")),
    "nothing comes back": Fault(
        reply(404, "/store/", method="GET"), "cannot be verified: there is no", new=True
    ),
    "tag: 503 before it": Fault(
        reply(503, "/tag/"), "was published, but not tagged", {"tag": "v1"}, new=True
    ),
    "tag: 503 after it": Fault(lost("/tag/", status(503)), None, {"tag": "v1"}),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_the_repository_holds_the_old_state_or_the_new_one(
    fault, hub, old, publish, net, secrets, monkeypatch
):
    fault.arrange(hub, monkeypatch)
    before, options = dict(hub.head(REPO)), {"force": True, **(fault.options or {})}
    if fault.message is None:
        assert publish(**options) == hub.repositories[REPO].refs["main"]
        secrets()
    else:
        with pytest.raises(zoo.ZooError, match=f"(?s){fault.message}") as caught:
            publish(**options)
        secrets(*traceback.format_exception(caught.value))
    if fault.silent:
        assert {asked.method for asked in hub.asked} <= {"GET"}
    head = dict(hub.head(REPO))
    assert head.pop("theirs", b"") == (b"x" if fault.arrange is somebody_commits else b"")
    if fault.message is None or fault.new:
        assert set(head) == FILES
        assert same(zoo.load(f"hf://{REPO}", pretrained=True, module=Net()), net)
        assert sum("By flax-zoo" in message for _, message in hub.repositories[REPO].log.values()) == 1
    else:
        assert head == before == OLD


CREATION = {
    "nobody asked for it": (
        {"create": False},
        lambda hub, patch: None,
        "there is no repository 'you/net', or",
        None,
    ),
    "503 before it": ({}, reply(503, "/create"), r"cannot be created: .*\(HTTP 503\)", None),
    "503 after it": ({}, lost("/create", status(503)), None, FILES),
    "somebody creates it": (
        {},
        lambda hub, patch: hub.before(
            lambda asked: hub.commit(REPO, OLD, private=True, readers={TOKEN}) and None, path="/create"
        ),
        "cannot be created: somebody else is changing it",
        set(OLD),
    ),
    "made public": (
        {},
        lambda hub, patch: hub.before(
            lambda asked: hub.commit(REPO, {}) and Reply(200, {}, b'{"url": ""}'), path="/create"
        ),
        "is public, and you asked for private",
        set(),
    ),
    "403": ({}, reply(403, "/create"), r"cannot be created: the token may not write it", None),
    "the commit fails": ({}, reply(503, "/commit/"), "'you/net' is as it was", {".gitattributes"}),
}


@pytest.mark.parametrize(("options", "arrange", "message", "files"), CREATION.values(), ids=CREATION)
def test_a_repository_that_is_not_there(
    options, arrange, message, files, hub, owner, publish, secrets, monkeypatch
):
    arrange(hub, monkeypatch)
    options = {"create": True, **options}
    if message is None:
        publish(**options)
        secrets()
    else:
        with pytest.raises(zoo.PublishError, match=f"(?s){message}") as caught:
            publish(**options)
        secrets(*traceback.format_exception(caught.value))
    assert (set(hub.head(REPO)) if REPO in hub.repositories else None) == files
