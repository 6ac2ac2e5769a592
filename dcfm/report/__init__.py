"""One HTML file from folders of results: files become blocks (:mod:`dcfm.report.files`), folders become sections
(:mod:`dcfm.report.folders`), sections become a page (:mod:`dcfm.report.page`)."""
