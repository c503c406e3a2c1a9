"""What an instruction mentions of an object: known answers, and that the agent reads them."""

from __future__ import annotations

import numpy as np
import pytest

from embodied.categories import SOS_INDEX
from embodied.policies.vln.dual_scale.instruction_features import (
    INSTRUCTION_FEATURES,
    InstructionFeatures,
    read_instruction_features,
)

TEXT = "Go to the bathroom on level 2 and clean the oval mirrors above the sink"
MIRROR, SINK, CHAIR = (SOS_INDEX[name] for name in ("mirror", "sink", "chair"))


@pytest.mark.parametrize(
    ("name", "category", "expected"),
    [
        # 15 words; "mirrors" is the 12th, "oval" the 11th, "sink" the last.
        ("mirror", MIRROR, (1, 1, 12 / 15, 12 / 15, 1, 1)),
        ("oval wall mirror", MIRROR, (2 / 3, 1, 11 / 15, 12 / 15, 1, 1)),
        ("sink cabinet", SINK, (1 / 2, 0, 1, 1, 1, 0)),
        ("looking glass", MIRROR, (0, 0, 0, 0, 1, 1)),
        ("chair", CHAIR, (0, 0, 0, 0, 0, 0)),
        ("the", -1, (0, 0, 0, 0, 0, 0)),
        ("", -1, (0, 0, 0, 0, 0, 0)),
    ],
)
def test_features_of_an_object(name: str, category: int, expected: tuple[float, ...]) -> None:
    assert len(INSTRUCTION_FEATURES) == len(expected)
    assert np.allclose(InstructionFeatures(TEXT).compute_features(name, category), expected)


def test_first_and_last_mention_are_told_apart() -> None:
    mentions = read_instruction_features("Pass the chair, pass the chairs.")
    # Punctuation marks count as words of the text.
    assert np.allclose(mentions.compute_features("chair", -1)[2:4], (3 / 8, 7 / 8))


def test_an_instruction_without_things_has_no_target() -> None:
    assert not InstructionFeatures("walk on").compute_features("mirror", -1).any()
