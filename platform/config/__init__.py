"""Wires the rooms: settings, routes, processes and commands."""
