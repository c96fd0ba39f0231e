"""Pictures: each module collects its numbers and draws them; matplotlib is imported only to draw (extra `plot`)."""
