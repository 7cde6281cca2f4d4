"""What a tool's source says of it: its JSON schema, read without running a line of the source."""
