"""What clients of the nnInteractive protocol say, and what they are told that the server can."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

CAPABILITIES = {
    "supported_interactions": {"points": True, "bbox2d": True, "bbox3d": True, "scribble": True, "lasso": True},
    "channel_mapping": {
        "prev_seg": 0, "bbox2d": [1, 2], "bbox3d": [1, 2], "lasso": [1, 2], "points": [3, 4], "scribble": [5, 6],
    },
    "num_interaction_channels": 7,
    "supports_initial_label": True,
    "supports_zero_shot_label_refinement": True,
    "preferred_scribble_thickness": [2, 2, 2],
    "interaction_decay": 1.0,
    "inference_session_version": "2.6.0",
    "license": "Apache-2.0",
    "supports_undo": True,
    "do_autozoom": False,
}  # fmt: skip
BUFFERS = ("bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64")

Index = Annotated[float, Field(ge=-(2**31), le=2**31, allow_inf_nan=False)]
Pair = Annotated[list[Index], Field(min_length=2, max_length=2)]
Pairs = Annotated[list[Pair], Field(min_length=3, max_length=3)]
Spacing = Annotated[list[Annotated[float, Field(gt=0, allow_inf_nan=False)]], Field(min_length=3, max_length=3)]


class Prompt(BaseModel):
    include_interaction: bool = True
    run_prediction: bool = True


class BoxPrompt(Prompt):
    bbox_coords: Pairs


class PointPrompt(Prompt):
    coordinates: Annotated[list[Index], Field(min_length=3, max_length=3)]


class MaskPrompt(Prompt):
    interaction_bbox: Pairs | None = None


class Given(BaseModel):
    run_prediction: bool = False


class Properties(BaseModel):
    spacing: Spacing | None = None


class Scan(BaseModel):
    image_properties: Properties = Properties()


class Buffer(BaseModel):
    shape: Annotated[list[int], Field(max_length=8)]
    dtype: str
