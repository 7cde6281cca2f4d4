"""The operators' admin: its site, theme and home page, and what every app's admin is made from."""
