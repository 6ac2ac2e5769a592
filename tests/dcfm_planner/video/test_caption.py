"""Text under pictures."""

import numpy as np

from dcfm_planner.video.caption import GREEN, RED, WHITE, caption


def test_text_goes_below_and_leaves_the_picture() -> None:
    picture = np.random.default_rng(0).integers(255, size=(60, 200, 3), dtype=np.uint8)
    one = caption(picture, [[("known", WHITE)]])
    two = caption(picture, [[("known", WHITE)], [("good", GREEN), ("bad", RED)]])
    np.testing.assert_array_equal(two[:60], picture)
    assert one.shape[1] == two.shape[1] == 200
    assert two.shape[0] > one.shape[0] > 60
    strip = two[60:].reshape(-1, 3).astype(int)
    for colour in (WHITE, GREEN, RED):
        assert np.abs(strip - colour).sum(axis=1).min() < 60
    assert not np.array_equal(one, caption(picture, [[("novel", WHITE)]]))


def test_what_does_not_fit_is_cut_off() -> None:
    assert caption(np.zeros((20, 64, 3), dtype=np.uint8), [[("word " * 200, RED)]]).shape[1] == 64
