"""Django's entry to the conversations room."""

from django.apps import AppConfig


class ConversationsConfig(AppConfig):
    name = "conversations"

    def ready(self) -> None:
        from agents.threads import register
        from budgets.stops import register_canceller
        from conversations.actions import cancel_stopped
        from conversations.threads import ConversationThreads

        register(ConversationThreads())
        register_canceller(cancel_stopped)
