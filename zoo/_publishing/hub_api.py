"""The part of the Hub's API that publishing needs: the account, a repository's content, and one commit."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from zoo._errors import PublishError
from zoo._hub import errors
from zoo._hub.errors import NetworkError, OfflineError, RefusedError
from zoo._hub.retry import Retries
from zoo._hub.settings import COMMIT, LOGIN, ODD_TOKEN, Token, endpoint
from zoo._publishing.hub_client import session

Result = TypeVar("Result")


class UnreachableError(PublishError):
    """A question that the Hub was not asked, or has not answered."""


@dataclass(frozen=True)
class State:
    """A repository's content at its head.

    Attributes:
        commit: The head.
        private: If true, only its owner may read the repository.
        files: The Hub's hash of each file, by path: the sha256 of a large file, git's blob id of a small one.
    """

    commit: str
    private: bool
    files: Mapping[str, str]


@dataclass(frozen=True)
class Api:
    """Access to one repository with one token; each method is one query or one change."""

    repo: str
    token: Token = field(default=None, repr=False)

    @property
    def page(self) -> str:
        return f"{endpoint()}/{self.repo}"

    @property
    def anonymous(self) -> bool:
        """Returns whether there is no token, so that only public repositories are seen."""
        from huggingface_hub import get_token

        return self.token is False or (not isinstance(self.token, str) and get_token() is None)

    def check_permission(self) -> None:
        """Refuses a token without the right to write to the repository, if the Hub reports its rights.

        Raises:
            PublishError: the token may not write, or there is none.
        """
        if self.token is False:
            raise PublishError(f"publishing needs a token; {LOGIN}.")
        account = self.ask("the token cannot be checked", lambda api: api.whoami())
        problem = _lacks(account, *self.repo.split("/"))
        if problem:
            raise PublishError(f"{self.repo!r} cannot be published: {problem}.")

    def state(self) -> State | None:
        """Returns the repository's content; None if it does not exist or the token may not see it."""
        from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

        def ask(api: Any) -> Any:
            try:
                return api.model_info(self.repo, files_metadata=True)
            except GatedRepoError:
                raise
            except RepositoryNotFoundError:
                return None
            except HfHubHTTPError as error:
                if self.anonymous and error.response.status_code == 401:
                    return None
                raise

        found = self.ask(f"{self.repo!r} cannot be looked up", ask)
        if found is None:
            return None
        files = {
            each.rfilename: each.lfs.sha256 if each.lfs else each.blob_id for each in found.siblings or ()
        }
        if not COMMIT.fullmatch(found.sha or "") or not all(files.values()) or found.private is None:
            raise PublishError(f"{self.repo!r} cannot be looked up: it {errors.NOT_THE_HUB}.")
        return State(found.sha, bool(found.private), files)

    def tags(self) -> dict[str, str]:
        """Returns the commit of each tag."""
        refs = self.ask(
            f"the tags of {self.repo!r} cannot be read", lambda api: api.list_repo_refs(self.repo)
        )
        return {tag.name: tag.target_commit for tag in refs.tags}

    def create(self, *, private: bool) -> None:
        """Creates the repository, in one attempt: a second one would find what the first one created."""
        self.once(
            f"{self.repo!r} cannot be created",
            lambda api: api.create_repo(self.repo, private=private, exist_ok=False),
        )

    def tag(self, name: str, commit: str) -> None:
        """Sets a tag, in one attempt."""
        self.once(
            f"the tag {name!r} of {self.repo!r} cannot be set",
            lambda api: api.create_tag(self.repo, tag=name, revision=commit),
        )

    def commits_after(self, commit: str) -> dict[str, str]:
        """Returns the messages of all later commits, by commit, the newest first."""
        found = self.ask(
            f"the commits of {self.repo!r} cannot be read", lambda api: api.list_repo_commits(self.repo)
        )
        ids = [each.commit_id for each in found]
        newer = found[: ids.index(commit)] if commit in ids else found
        return {each.commit_id: each.message for each in newer}

    def validate(self, card: str) -> None:
        """Has the Hub validate a card's metadata."""
        from huggingface_hub import get_session
        from huggingface_hub.utils import hf_raise_for_status

        def ask(api: Any) -> None:
            # As ModelCard.validate does, which in older versions asks huggingface.co whatever HF_ENDPOINT is.
            content = {"repoType": "model", "content": card}
            answer = get_session().post(f"{endpoint()}/api/validate-yaml", json=content)
            if answer.status_code == 400:
                raise ValueError(answer.text)
            hf_raise_for_status(answer)

        self.ask("the model card is not right", ask)

    def commit(
        self, files: Mapping[str, Path], removed: Sequence[str], *, parent: str, title: str, message: str
    ) -> str:
        """Makes one commit, and returns its id; the Hub refuses it if the head is no longer the parent.

        Args:
            files: Files to add or change, by path in the repository.
            removed: Paths to remove.
            parent: The commit that it follows.
            title: First line of the commit message.
            message: Rest of the commit message.

        Raises:
            PublishError: the Hub did not confirm the commit.
        """
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        def act(api: Any) -> Any:
            operations: list[Any] = [CommitOperationDelete(path, is_folder=False) for path in removed]
            # A file object's bytes go over plain HTTP, by the protocol of Git LFS; a path's through the
            # client's chunk store (Xet) where that is installed. One way for everybody, and one whose every
            # byte the tests see.
            operations += [CommitOperationAdd(path, file) for path, file in opened.items()]
            return api.create_commit(
                self.repo,
                operations,
                commit_message=title,
                commit_description=message,
                parent_commit=parent,
            ).oid

        opened = {path: file.open("rb") for path, file in files.items()}
        try:
            return str(self.once("nothing was committed", act))
        finally:
            for each in opened.values():
                each.close()

    def ask(self, otherwise: str, question: Callable[[Any], Result]) -> Result:
        """Runs a query, with retries, since it changes nothing; `otherwise` begins the error message."""
        try:
            return Retries().run(lambda: self._attempt(question))
        except NetworkError as trouble:
            kind = PublishError if isinstance(trouble, RefusedError) else UnreachableError
            raise kind(f"{otherwise}: {trouble}.") from None

    def once(self, otherwise: str, action: Callable[[Any], Result]) -> Result:
        """Runs an action once, since it changes the repository; `otherwise` begins the error message."""
        try:
            return self._attempt(action)
        except NetworkError as trouble:
            raise PublishError(f"{otherwise}: {trouble}.") from None

    def _attempt(self, action: Callable[[Any], Result]) -> Result:
        from huggingface_hub import HfApi, constants

        if constants.HF_HUB_OFFLINE:
            raise OfflineError("HF_HUB_OFFLINE is set, and publishing needs the network")
        try:
            with session():
                return action(HfApi(endpoint=endpoint(), token=self.token, library_name="flax-zoo"))
        except UnicodeError:
            raise RefusedError(ODD_TOKEN) from None
        except Exception as error:
            # Of any kind, since the client's own are of many, and whether something happened only the Hub can
            # say. Not chained: an HTTP client's messages show addresses and headers.
            raise errors.explain(error, errors.CHANGE) from None


def _lacks(account: Mapping[str, Any], owner: str, name: str) -> str | None:
    """Describes why a token may not write to the repository; None if it may."""
    user, orgs = account.get("name"), {each.get("name"): each for each in account.get("orgs") or ()}
    if owner != user and owner not in orgs:
        return f"the token belongs to {user!r}, who is not in {owner!r}; publish as {f'{user}/{name}'!r}"
    if orgs.get(owner, {}).get("roleInOrg") == "read":
        return f"{user!r} may only read in {owner!r}; ask there for the right to write"
    token = (account.get("auth") or {}).get("accessToken") or {}
    if token.get("role") == "read":
        return f"the token may only read; make one that may write, and {LOGIN}"
    if token.get("role") == "fineGrained":
        scopes = (token.get("fineGrained") or {}).get("scoped") or ()
        named = [
            each for each in scopes if (each.get("entity") or {}).get("name") in (owner, f"{owner}/{name}")
        ]
        if not any("repo.write" in (each.get("permissions") or ()) for each in named):
            return f"the token has no right to write repositories of {owner!r}; give it that"
    return None
