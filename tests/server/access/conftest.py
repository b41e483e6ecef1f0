"""What tests of access share: the tokens of a store."""

import pytest

from bifseg.server.access.tokens import Tokens


@pytest.fixture
def tokens(store):
    return Tokens(store)
