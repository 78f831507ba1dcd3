"""Requests that the server in place of the Hugging Face Hub takes: repositories, uploads, commits, tags."""

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from tests.support.servers import Asked, Reply

EMPTY = {".gitattributes": b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"}
LARGE = (".safetensors", ".png")


@dataclass(frozen=True)
class Account:
    """Whose a token is, and what it may do.

    Attributes:
        role: "read", "write" or "fineGrained".
        scopes: Of a fine-grained token: permissions by the name of a user, organisation or repository.
        orgs: Roles by organisation.
    """

    name: str
    role: str = "write"
    scopes: Mapping[str, list[str]] = field(default_factory=dict)
    orgs: Mapping[str, str] = field(default_factory=dict)

    def may_write(self, repo: str) -> bool:
        owner = repo.partition("/")[0]
        granted = [*self.scopes.get(owner, ()), *self.scopes.get(repo, ())]
        allowed = self.role == "write" or (self.role == "fineGrained" and "repo.write" in granted)
        return allowed and (owner == self.name or self.orgs.get(owner, "read") != "read")

    def described(self) -> dict[str, Any]:
        scoped = [{"entity": {"name": name}, "permissions": granted} for name, granted in self.scopes.items()]
        token = {"displayName": "t", "role": self.role, "fineGrained": {"global": [], "scoped": scoped}}
        orgs = [{"name": name, "roleInOrg": role} for name, role in self.orgs.items()]
        return {
            "type": "user",
            "name": self.name,
            "orgs": orgs,
            "auth": {"type": "access_token", "accessToken": token},
        }


def oid(path: str, content: bytes) -> str:
    """The Hub's hash of a file."""
    if path.endswith(LARGE):
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class Commits:
    """The part of the Hub that changes; `Hub` has the rest.

    Attributes:
        accounts: Whose tokens are, by token.
        uploads: Large files that came and were right, by hash.
    """

    def __init__(self) -> None:
        super().__init__()
        self.accounts: dict[str, Account] = {}
        self.uploads: dict[str, bytes] = {}
        self._actions: list[tuple[str, str, Callable[[Asked], Reply | None]]] = []
        model = "/api/models/([^/]+/[^/]+)"
        self.writing: list[tuple[str, str, Callable[..., Reply]]] = [
            ("GET", "/api/whoami-v2", self.whoami),
            ("POST", "/api/repos/create", self.create),
            ("POST", "/api/validate-yaml", self.validate),
            ("GET", model, self.info),
            ("GET", f"{model}/refs", self.list_refs),
            ("GET", f"{model}/commits/main", self.list_commits),
            ("POST", f"{model}/preupload/main", self.preupload),
            ("POST", f"{model}/commit/main", self.take_commit),
            ("POST", f"{model}/tag/([^/]+)", self.tag),
            ("POST", r"/([^/]+/[^/]+)\.git/info/lfs/objects/batch", self.batch),
            ("POST", r"/([^/]+/[^/]+)\.git/info/lfs/verify", self.verify),
            ("PUT", "/upload/([0-9a-f]{64})", self.upload),
        ]

    def member(self, token: str, name: str, **fields: Any) -> Account:
        """Adds somebody with a token."""
        self.tokens.add(token)
        self.accounts[token] = Account(name, **fields)
        return self.accounts[token]

    def before(self, action: Callable[[Asked], Reply | None], *, path: str, method: str = "POST") -> None:
        """Sets what comes before the next answer to a method and a path; its reply, if any, is the answer."""
        self._actions.append((method, path, action))

    def interrupted(self, asked: Asked) -> Reply | None:
        """Returns the reply of the next action that fits."""
        fits = (each for each in self._actions if each[0] == asked.method and each[1] in asked.path)
        found = next(fits, None)
        if found is None:
            return None
        self._actions.remove(found)
        return found[2](asked)

    def head(self, name: str) -> dict[str, bytes]:
        """The files of a repository's last commit."""
        repository = self.repositories[name]
        return repository.commits[repository.refs["main"]]

    def whoami(self, asked: Asked) -> Reply:
        account = self.accounts.get(asked.token or "")
        return _json(account.described()) if account else Reply(401, INVALID)

    def create(self, asked: Asked) -> Reply:
        wanted, account = json.loads(asked.body), self.accounts.get(asked.token or "")
        if account is None:
            return Reply(401, INVALID)
        name = f"{wanted['organization'] or account.name}/{wanted['name']}"
        if name in self.repositories:
            return _json({"error": "You already created this model repo"}, 409)
        if not account.may_write(name):
            return Reply(403, {"X-Error-Message": "You don't have the rights to create a model"})
        self.commit(name, EMPTY, private=wanted.get("visibility") == "private", readers={asked.token})
        return _json({"url": f"{self.url}/{name}"})

    def validate(self, asked: Asked) -> Reply:
        content = json.loads(asked.body)["content"]
        fields = yaml.safe_load(content.split("---\n")[1]) if content else {}
        wrong = [
            f'"{name}" must be a {kind.__name__}'
            for name, kind in FIELDS.items()
            if not isinstance(fields.get(name, kind()), kind)
        ]
        errors = [{"message": text} for text in wrong]
        return _json({"errors": errors, "warnings": []}, 400 if errors else 200)

    def info(self, asked: Asked, name: str) -> Reply:
        refused = self.refused(asked, self.repositories.get(name))
        if refused:
            return refused
        repository = self.repositories[name]
        files = [_sibling(path, content) for path, content in sorted(self.head(name).items())]
        sha = repository.refs["main"]
        return _json(
            {"id": name, "sha": sha, "private": repository.private, "gated": False, "siblings": files}
        )

    def list_refs(self, asked: Asked, name: str) -> Reply:
        def listed(kind: str, names: list[str]) -> list[dict[str, str]]:
            refs = self.repositories[name].refs
            return [
                {"name": each, "ref": f"refs/{kind}/{each}", "targetCommit": refs[each]} for each in names
            ]

        tags = [each for each in self.repositories[name].refs if each != "main"]
        return _json({"branches": listed("heads", ["main"]), "converts": [], "tags": listed("tags", tags)})

    def list_commits(self, asked: Asked, name: str) -> Reply:
        repository = self.repositories[name]
        commits = [
            {
                "id": commit,
                "title": title,
                "message": message,
                "date": "2026-01-01T00:00:00.000Z",
                "authors": [],
            }
            for commit, (title, message) in repository.log.items()
        ]
        return _json(commits[::-1])

    def preupload(self, asked: Asked, name: str) -> Reply:
        refused = self.may_not_write(asked, name)
        if refused:
            return refused
        files, present = json.loads(asked.body)["files"], self.head(name)
        answers = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if file["path"].endswith(LARGE) else "regular",
                "shouldIgnore": False,
                "oid": oid(file["path"], present[file["path"]]) if file["path"] in present else None,
            }
            for file in files
        ]
        return _json({"files": answers})

    def batch(self, asked: Asked, name: str) -> Reply:
        refused = self.may_not_write(asked, name)
        if refused:
            return refused
        wanted = json.loads(asked.body)
        assert "basic" in wanted["transfers"]
        return _json(
            {"transfer": "basic", "objects": [self._object(name, each) for each in wanted["objects"]]}
        )

    def _object(self, name: str, wanted: dict[str, Any]) -> dict[str, Any]:
        if wanted["oid"] in self.uploads:
            return wanted
        signature = self.sign()
        upload = f"http://localhost:{self.port}/upload/{wanted['oid']}?X-Signature={signature}"
        verify = f"{self.url}/{name}.git/info/lfs/verify"
        return {**wanted, "actions": {"upload": {"href": upload}, "verify": {"href": verify}}}

    def upload(self, asked: Asked, digest: str) -> Reply:
        if asked.query.get("X-Signature", [""])[0] not in self.signatures or asked.token:
            return Reply(403)
        if hashlib.sha256(asked.body).hexdigest() != digest:
            return Reply(400, {"X-Error-Message": "the content does not match its checksum"})
        self.uploads[digest] = asked.body
        return Reply(200)

    def verify(self, asked: Asked, name: str) -> Reply:
        wanted = json.loads(asked.body)
        content = self.uploads.get(wanted["oid"])
        return Reply(200) if content is not None and len(content) == wanted["size"] else Reply(404)

    def take_commit(self, asked: Asked, name: str) -> Reply:
        refused = self.may_not_write(asked, name)
        if refused:
            return refused
        header, *lines = [json.loads(line) for line in asked.body.splitlines()]
        if header["value"].get("parentCommit") != self.repositories[name].refs["main"]:
            return _json({"error": "A commit has happened since. Please refresh and try again."}, 412)
        paths = [line["value"]["path"] for line in lines]
        if len(paths) != len(set(paths)):
            return _json({"error": "the same path twice"}, 400)
        files = dict(self.head(name))
        for line in lines:
            value = line["value"]
            if line["key"] == "deletedFile":
                del files[value["path"]]
            elif line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif value["oid"] in self.uploads:
                files[value["path"]] = self.uploads[value["oid"]]
            else:
                return _json({"error": "the lfs object does not exist"}, 400)
        message = header["value"]["summary"], header["value"]["description"]
        commit = self.commit(name, files, whole=True, message=message)
        return _json(
            {"success": True, "commitOid": commit, "commitUrl": f"{self.url}/{name}/commit/{commit}"}
        )

    def tag(self, asked: Asked, name: str, revision: str) -> Reply:
        refused = self.may_not_write(asked, name)
        if refused:
            return refused
        refs, wanted = self.repositories[name].refs, json.loads(asked.body)["tag"]
        if wanted in refs:
            return _json({"error": "Tag already exists"}, 409)
        refs[wanted] = refs.get(revision, revision)
        return _json({})

    def may_not_write(self, asked: Asked, name: str) -> Reply | None:
        """The answer to who may not write, or to what is not there."""
        refused = self.refused(asked, self.repositories.get(name))
        account = self.accounts.get(asked.token or "")
        if refused or (account and account.may_write(name)):
            return refused
        return Reply(403, {"X-Error-Message": "you need write access"})


INVALID = {"X-Error-Message": "Invalid credentials in Authorization header"}
FIELDS = {"license": str, "library_name": str, "tags": list, "datasets": list, "model-index": list}


def _json(value: Any, status: int = 200) -> Reply:
    return Reply(status, {"Content-Type": "application/json"}, json.dumps(value).encode())


def _sibling(path: str, content: bytes) -> dict[str, Any]:
    described = {"rfilename": path, "size": len(content), "blobId": oid(path, content)}
    if path.endswith(LARGE):
        described["lfs"] = {"sha256": oid(path, content), "size": len(content), "pointerSize": 130}
    return described
