from tests.zoo.hub.conftest import (
    cache,
    commit,
    declare,
    directory,
    files,
    flax,
    hosted,
    hub,
    mlp,
    net,
    offline,
    pth,
)

__all__ = [
    "cache",
    "commit",
    "declare",
    "directory",
    "files",
    "flax",
    "hosted",
    "hub",
    "mlp",
    "net",
    "offline",
    "pth",
]
