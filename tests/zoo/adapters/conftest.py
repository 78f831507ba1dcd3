from tests.zoo.hub.conftest import cache, hub, offline

__all__ = ["cache", "hub", "offline"]
