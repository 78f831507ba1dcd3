"""A server on this machine that speaks as the Hugging Face Hub does, with faults on demand."""

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.support.hub_commits import LARGE, Commits, oid
from tests.support.servers import Asked, Reply, Server


@dataclass
class Repository:
    """A repository: files by commit.

    Attributes:
        readers: Tokens that may read it where it is private or gated.
    """

    private: bool = False
    gated: bool = False
    readers: set[str] = field(default_factory=set)
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    log: dict[str, tuple[str, str]] = field(default_factory=dict)  # titles and messages


class Hub(Commits, Server):
    """The Hub's protocol, https://huggingface.co/docs/hub/api; large files are at signed addresses elsewhere.

    Attributes:
        tokens: Those that somebody has.
        signatures: Valid for the store; taking one away lets addresses expire.
    """

    SECRET = "s1gnature"

    def __init__(self) -> None:
        super().__init__()
        self.repositories: dict[str, Repository] = {}
        self.tokens: set[str] = set()
        self.signatures: set[str] = set()
        self.routes: list[tuple[str, str, Callable[..., Reply]]] = [
            ("GET", r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self.resolve),
            ("GET", r"/store/([0-9a-f]{64})", self.store),
            *self.writing,
        ]

    def commit(
        self,
        name: str,
        files: Mapping[str, bytes],
        *,
        whole: bool = False,
        message: tuple[str, str] = ("a commit", ""),
        **fields: Any,
    ) -> str:
        """Adds files to a repository, which is made where it is missing, or replaces all; the commit."""
        repository = self.repositories.setdefault(name, Repository(**fields))
        present = {} if whole else repository.commits.get(repository.refs.get("main", ""), {})
        content = {**present, **files}
        digests = sorted((path, hashlib.sha256(data).hexdigest()) for path, data in content.items())
        commit = hashlib.sha1(repr((digests, len(repository.commits))).encode()).hexdigest()
        repository.commits[commit] = content
        repository.log[commit] = message
        repository.refs["main"] = commit
        return commit

    def answer(self, asked: Asked) -> Reply:
        reply = self.interrupted(asked)
        if reply:
            return reply
        method = "GET" if asked.method == "HEAD" else asked.method
        for expected, pattern, route in self.routes:
            match = re.fullmatch(pattern, asked.path)
            if match and method == expected:
                return route(asked, *match.groups())
        return Reply(404)

    def sign(self) -> str:
        """A signature that is valid until it is taken away."""
        signature = f"{self.SECRET}{len(self.signatures)}"
        self.signatures.add(signature)
        return signature

    def resolve(self, asked: Asked, name: str, revision: str, path: str) -> Reply:
        repository = self.repositories.get(name)
        refused = self.refused(asked, repository)
        if refused or repository is None:
            return refused or Reply(404)
        commit = repository.refs.get(revision, revision)
        files = repository.commits.get(commit)
        if files is None:
            return Reply(404, {"X-Error-Code": "RevisionNotFound"})
        headers = {"X-Repo-Commit": commit}
        if path not in files:
            return Reply(404, {**headers, "X-Error-Code": "EntryNotFound"})
        content = files[path]
        digest = oid(path, content)
        if not path.endswith(LARGE):
            return Reply(200, {**headers, "ETag": f'"{digest}"'}, content)
        signature = self.sign()
        # Another name of this machine, and so another origin.
        location = f"http://localhost:{self.port}/store/{digest}?X-Signature={signature}"
        linked = {"X-Linked-Etag": f'"{digest}"', "X-Linked-Size": str(len(content)), "Location": location}
        return Reply(302, {**headers, **linked})

    def refused(self, asked: Asked, repository: Repository | None) -> Reply | None:
        """The answer to who may not read, or to what is not there."""
        token = asked.token
        if token and token not in self.tokens:
            return Reply(401, {"X-Error-Message": "Invalid credentials in Authorization header"})
        if repository and repository.gated and token not in repository.readers:
            return Reply(403 if token else 401, {"X-Error-Code": "GatedRepo"})
        if repository is None or (repository.private and token not in repository.readers):
            if token:
                return Reply(404, {"X-Error-Code": "RepoNotFound"})
            return Reply(401, {"X-Error-Message": "Invalid username or password."})
        return None

    def store(self, asked: Asked, digest: str) -> Reply:
        if asked.query.get("X-Signature", [""])[0] not in self.signatures:
            return Reply(403)
        if asked.token:
            return Reply(400)  # as stores do: two ways to say who one is
        for repository in self.repositories.values():
            for files in repository.commits.values():
                for content in files.values():
                    if hashlib.sha256(content).hexdigest() == digest:
                        return Reply(200, {"ETag": f'"{digest}"'}, content)
        return Reply(404)
