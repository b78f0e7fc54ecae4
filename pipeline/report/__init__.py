"""One self-contained HTML page from the manifests of a build."""
