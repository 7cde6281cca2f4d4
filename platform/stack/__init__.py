"""The parts Perennial runs on where no address was given: found or started, waited for, and stopped again.

This room uses the standard library and its own wheels alone. It imports no Django and no other room.
"""
