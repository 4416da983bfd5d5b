"""Text models that answer chats: a server, a local model, or a script."""

from opdkit.text.agreement import AgreementScript
from opdkit.text.base import Chat, TextModel, TextSpec
from opdkit.text.local import LocalModel
from opdkit.text.openai import OpenAIModel
from opdkit.text.scripted import SumsScript

__all__ = ["AgreementScript", "Chat", "LocalModel", "OpenAIModel", "SumsScript", "TextModel", "TextSpec"]
