"""Publishes models on the Hugging Face Hub: a plan, one commit, and a download that verifies it.

Large files are uploaded by the protocol of Git LFS over plain HTTP, even if the client supports others.
Uploaded files are not sent again, so a publication that was killed is simply restarted.
"""

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import flax.linen as nn
import jax
from jax.typing import ArrayLike

from converters.errors import ConverterError
from zoo import _progress
from zoo._errors import PublishError
from zoo._hub import download
from zoo._hub.errors import NetworkError
from zoo._hub.hub_file import HubFile
from zoo._hub.settings import Token, check_token
from zoo._loading import repositories
from zoo._loading.nnx_model import in_linen
from zoo._loading.resolve import resolve
from zoo._model import Model
from zoo._publishing import model_card, stage, staging_directory
from zoo._publishing.hub_api import Api, State, UnreachableError
from zoo._publishing.hub_client import session
from zoo._publishing.manifest_entry import ManifestEntry
from zoo._publishing.plan import KEPT, Plan, Request, make_plan
from zoo._publishing.stage import Staged, StageOptions, Subject
from zoo._registry.entry import Weights

REPO = re.compile(r"\w[\w.-]*/\w[\w.-]*", re.ASCII)
TAG = re.compile(r"\w[\w.-]*", re.ASCII)
README = "README.md"
UNSEEN = "nobody is logged in (`hf auth login`), so private repositories and the right to write were not seen"


@dataclass(frozen=True)
class Published:
    """The result of a publication.

    Attributes:
        url: The commit's address.
        entry: The entry for a manifest, as YAML; None for a module outside the zoo.
    """

    url: str
    entry: str | None


Review = Callable[[Plan], None]


def publish(
    model: Subject,
    repo_id: str,
    *,
    private: bool = True,
    create: bool = False,
    force: bool = False,
    torch: bool = False,
    tag: str | None = None,
    message: str | None = None,
    license: str | None = None,
    inputs: Sequence[ArrayLike | jax.ShapeDtypeStruct] = (),
    module: nn.Module | None = None,
    token: Token = None,
    review: Review = lambda plan: None,
) -> str:
    """Publishes a model on the Hugging Face Hub in one commit; `zoo.load("hf://owner/name")` loads it again.

    Args:
        model: A model, or a name or directory that `load` takes.
        repo_id: The repository, `owner/name`; afterwards it holds exactly the model's files, or is unchanged.
        private: If true, only its owner may read the repository; an existing one must match.
        create: If true, a missing repository is created.
        force: If true, existing files may be changed or removed.
        torch: If true, a state dict for PyTorch is published as well, as safetensors.
        tag: Name of a tag for the commit.
        message: Commit message.
        license: License of the weights, such as "MIT"; by default that of the model's entry.
        inputs: Example arrays or their shapes, for a module outside the zoo.
        module: A module outside the zoo, if `model` is a directory with its weights.
        token: A Hub token with the right to write; by default that of your login.
        review: Called with the plan before anything is sent; an exception from it ends the publication.

    Returns:
        The commit's address.

    Raises:
        PublishError: the publication was refused or failed; the message describes the repository's state.
        WeightsError: the weights are missing or damaged, or give wrong outputs.
    """
    options = StageOptions(module=module, inputs=inputs, license=license, torch=torch, token=token)
    request = Request(repo=repo_id, private=private, create=create, force=force, tag=tag, message=message)
    return run(model, request, options, review).url


def run(subject: Subject, request: Request, options: StageOptions, review: Review) -> Published:
    """Publishes as `publish` does, and adds the entry to `request.manifest`, if given."""
    _check(request, options)
    subject = in_linen(subject)
    if not isinstance(subject, Model) and not repositories.is_one(subject):
        resolve(subject)  # a directory that is not there is told before the Hub is asked
    api = Api(request.repo, options.token)
    state, unseen = _seen(api, request)
    with staging_directory.directory() as home:
        staged, files = _staged(api, subject, home / "files", options)
        if unseen in ("", UNSEEN):
            api.validate(files[README].read_text(encoding="utf-8"))
        notes = (*staged.notes, unseen) if unseen else staged.notes
        plan = make_plan(api, request, state, files, verified=stage.hashes(staged), notes=notes)
        listed = ManifestEntry.of(staged.entry, request.repo, request.manifest)
        review(plan)
        state = state or _created(api, request)
        commit = _commit(api, plan, files, state, request.message or f"Publish {staged.entry.name}")
        _fetch_back(api, commit, plan, home)
        if request.tag:
            _tag(api, request.tag, commit)
        return Published(f"{api.page}/commit/{commit}", listed.write(commit) if listed else None)


def _check(request: Request, options: StageOptions) -> None:
    check_token(options.token)
    if not REPO.fullmatch(request.repo):
        raise PublishError(f"{request.repo!r} is no repository's name; expected owner/name.")
    if request.tag is not None and not TAG.fullmatch(request.tag):
        raise PublishError(f"{request.tag!r} is no tag's name; choose one such as 'v1.0'.")


def _seen(api: Api, request: Request) -> tuple[State | None, str]:
    """Returns the repository's content, and for a dry run what of it could not be seen, and why."""
    unseen = request.dry_run and api.anonymous
    try:
        if not unseen:
            api.check_permission()
        return _repository(api, request, must_exist=not unseen), UNSEEN if unseen else ""
    except UnreachableError as error:
        if not request.dry_run:
            raise
        return None, f"{error} So neither the repository nor the right to write was seen"


def _repository(api: Api, request: Request, *, must_exist: bool) -> State | None:
    """Returns the repository's content, after checks of its existence and visibility."""
    state = api.state()
    if state is None and must_exist and not request.create:
        raise PublishError(
            f"there is no repository {api.repo!r}, or the token may not see it; pass create=True."
        )
    if state is not None:
        _check_visibility(api, request, state)
    return state


def _check_visibility(api: Api, request: Request, state: State) -> None:
    if state.private != request.private:
        found, asked = ("private", "public") if state.private else ("public", "private")
        other = "pass private=True" if state.private else "pass private=False"
        raise PublishError(
            f"{api.repo!r} is {found}, and you asked for {asked}: {other}, "
            f"or change it at {api.page}/options; nothing was published."
        )


def _staged(
    api: Api, subject: Subject, target: Path, options: StageOptions
) -> tuple[Staged, dict[str, Path]]:
    """Prepares the files, and returns them by path in the repository."""
    try:
        staged = stage.stage(subject, target, options)
        (target / README).write_text(str(model_card.card(staged, api.repo)), encoding="utf-8")
    except OSError as error:
        raise PublishError(
            f"the files cannot be prepared: {error}; ZOO_CACHE chooses another place."
        ) from error
    return staged, stage.files_of(target)


def _created(api: Api, request: Request) -> State:
    """Creates the repository and returns its content; refuses one that somebody else created meanwhile."""
    trouble = None
    try:
        api.create(private=request.private)
    except PublishError as error:
        trouble = error
    state = api.state()
    if state is None or (trouble and set(state.files) - set(KEPT)):
        raise trouble or PublishError(f"{api.repo!r} was created, and cannot be found; try again later.")
    _check_visibility(api, request, state)
    if set(state.files) - set(KEPT):
        raise PublishError(f"{api.repo!r} is new, and holds {', '.join(state.files)}; publish again.")
    return state


def _commit(api: Api, plan: Plan, files: Mapping[str, Path], state: State, title: str) -> str:
    """Commits the files, and returns the commit; the head if nothing changes."""
    sent, removed = plan.paths("added", "changed"), plan.paths("removed")
    if not sent and not removed:
        return state.commit
    mark = hashlib.sha256(json.dumps([(file.path, file.sha256) for file in plan.files]).encode()).hexdigest()
    message = f"By flax-zoo; content {mark}"
    try:
        return api.commit(
            {path: files[path] for path in sent}, removed, parent=state.commit, title=title, message=message
        )
    except PublishError as error:
        return _found_out(api, state.commit, mark, error)


def _found_out(api: Api, parent: str, mark: str, error: PublishError) -> str:
    """Returns the commit if it was made although the Hub did not confirm it.

    Raises:
        PublishError: the commit was not made, or the commits cannot be read.
    """
    try:
        newer = api.commits_after(parent)
    except PublishError as second:
        raise PublishError(f"{error} Look at {api.page}/commits/main for the commit: {second}") from None
    for commit, message in newer.items():
        if mark in message:
            return commit
    holds = f"is at {next(iter(newer))}, which is not this" if newer else f"is as it was, at {parent}"
    raise PublishError(f"{error} {api.repo!r} {holds}; what was uploaded is not sent again.") from None


def _fetch_back(api: Api, commit: str, plan: Plan, home: Path) -> None:
    """Downloads the published files, past any cache, and verifies them."""
    for file in plan.files:
        if file.change == "removed":
            continue
        weights = Weights(file.sha256, size=file.size, file=file.path, repo=api.repo, revision=commit)
        source, path = HubFile(name=f"hf://{api.repo}", weights=weights, token=api.token), home / "back"
        try:
            with path.open("wb") as target, _progress.bytes_bar(file.path) as report:
                download.download(partial(_request, source), target, source.checksum(), report)
        except (NetworkError, ConverterError, OSError) as trouble:
            raise PublishError(
                f"{file.path!r} of {api.repo!r} at {commit} is published, but cannot be verified: {trouble}. "
                "Publish again, which only verifies, or take it back."
            ) from None
        path.unlink()


def _request(source: HubFile) -> download.Request:
    with session():
        return source.request(source.ask())


def _tag(api: Api, tag: str, commit: str) -> None:
    try:
        if api.tags().get(tag) != commit:
            api.tag(tag, commit)
    except PublishError as error:
        if api.tags().get(tag) != commit:
            raise PublishError(f"{api.page}/commit/{commit} was published, but not tagged: {error}") from None
