"""What an organization, a project or an agent may spend."""
