"""`corpusmill sample`: a real corpus of several domains out of pinned source archives."""
