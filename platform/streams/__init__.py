"""The events of a run in a Redis Stream: written by one fenced worker, followed by any number of readers."""
