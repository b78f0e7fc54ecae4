"""`python -m pipeline` is `corpusmill`."""

from pipeline.cli import main

main()
