"""Exports of traces as files: asked for here, made by a worker in the background, fetched when they are done."""
