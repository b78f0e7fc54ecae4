"""Removal of exact and near duplicates: exact, sign, match, cluster, keep."""
