"""Probes of finished models: were the added tokens learned, and are they used?"""
