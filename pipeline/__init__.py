"""corpusmill: raw Parquet text to training-ready token arrays."""
