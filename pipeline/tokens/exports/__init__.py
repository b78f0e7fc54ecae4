"""Packed sequences in the formats that other trainers read: one module a format.

Two kinds of content. Rows: a sample is a packed row, padding and all (`megatron`, `mds`, `litdata`, `huggingface`).
Documents: a stream of documents end to end, without padding (`flat`, `olmo`, `datatrove`; see `documents`). No module
imports the library it writes for; each says which version of it was read.
"""
