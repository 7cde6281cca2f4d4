"""What happens over time: conversations, messages, runs and steps, and the workers that advance them."""
