"""One client for each vendor's wire: to it, from it, and its failures by class."""
