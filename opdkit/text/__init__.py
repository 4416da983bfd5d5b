"""Models that answer chats in words: a server, an engine with its renderer, or a script."""
