"""Tokens: train a vocabulary, encode, pack, export, load."""
