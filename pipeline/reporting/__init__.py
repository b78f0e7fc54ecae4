"""The report of a build: one HTML page, told from the manifests alone."""
