"""Django's entry to the conversations room."""

from django.apps import AppConfig


class ConversationsConfig(AppConfig):
    name = "conversations"

    def ready(self) -> None:
        from agents.threads import register
        from conversations.threads import ConversationThreads

        register(ConversationThreads())
