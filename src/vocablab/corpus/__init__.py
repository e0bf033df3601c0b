"""Corpora: document sources, shards of tokens with an index of documents, and what an intervention did to them."""
