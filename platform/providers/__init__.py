"""Talking to models and embedders; knows no agent."""
