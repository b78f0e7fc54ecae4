"""Quality: train a classifier, score every document, select by score."""
