"""The page's types of the server's API are those of the server as it is."""

from importlib import import_module
from pathlib import Path

TYPES = Path(__file__).parents[2] / "web" / "src" / "server" / "types.ts"


def test_the_types_of_the_page_fit_the_server():
    types = import_module("web.codegen.types")
    first = TYPES.read_text().splitlines(keepends=True)[0]
    assert first == types.heading(), "web/src/server/types.ts is stale: make types"


def test_what_only_foreign_protocols_use_is_left_out():
    used = import_module("web.codegen.types").source()["components"]["schemas"]
    assert {"Done", "Refusal", "RoundEvent", "SeriesInfo", "Stroke"} <= set(used)
    assert not {"PointPrompt", "ValidationError"} & set(used)
