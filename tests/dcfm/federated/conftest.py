"""A server that looks for answers without pauses."""

import pytest

from dcfm.federated import members


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members, "POLL", 0.01)
