"""What an agent can do: base tools, the rows that offer them, and the execution of a step's calls."""
