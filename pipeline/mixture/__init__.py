"""Mixture of domains: weights and a token budget become a plan."""
