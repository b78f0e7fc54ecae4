"""Small language models that are trained on the spot, to see what texts teach. Needs torch only where it trains."""
