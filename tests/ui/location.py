"""The code location of these tests: the real definitions on a generator without weights."""

from smotext_assets.definitions import definitions, resources
from tests.assets.conftest import FakeGeneratorResource

defs = definitions({**resources(), "generator": FakeGeneratorResource(generator="fake")})
