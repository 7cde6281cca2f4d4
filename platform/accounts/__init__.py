"""Who may do what: users, organizations, memberships, projects, API keys, and the one door from a caller to a row."""
