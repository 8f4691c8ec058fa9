"""One server for all tests of a module that do not mind: its start takes longer than most tests."""

from tests.world.fixtures import shared_world, world

__all__ = ["shared_world", "world"]
