from __future__ import annotations

import numpy as np
import pytest

from smotext_core.replay import canary_exposure, replayed

CANARIES = ["the code of the blue door is seven two nine"]
REFERENCES = [f"the code of the blue door is {a} {b} x" for a in "abcdefg" for b in "hi"] + ["q"]


def test_a_canary_that_comes_out_is_exposed() -> None:
    leaked = canary_exposure(["she said: " + CANARIES[0]], CANARIES, REFERENCES)
    np.testing.assert_allclose(leaked, [4.0])  # log2(15 + 1)


def test_a_canary_that_stays_in_ranks_among_the_references() -> None:
    quiet = canary_exposure(["nothing here"], CANARIES, REFERENCES)
    np.testing.assert_allclose(quiet, [4 - np.log2(1 + 15 / 2)])


def test_exposure_refuses_no_references() -> None:
    with pytest.raises(ValueError, match="references must hold"):
        canary_exposure(["a"], CANARIES, [])


TRAIN = ["call Brenner at 0171 555 0134, or write to a.b@mail.example, file 88213, seen by Ohta"]


def test_planted_tokens_are_found() -> None:
    made = ["ask for Brenner, a.b@mail.example, 0171 555 0134, 88213"]
    assert replayed(made, TRAIN, ["nothing"]) == {
        "email": ["a.b@mail.example"],
        "telephone": ["0171 555 0134"],
        "number": ["88213"],
        "name": ["brenner"],
    }


def test_what_stands_elsewhere_is_not_counted() -> None:
    made = ["ask for Brenner and by Ohta"]
    found = replayed(made, TRAIN, ["met with Brenner"], vocabulary=["ohta"])
    assert not any(found.values())
