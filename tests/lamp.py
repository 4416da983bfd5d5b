"""An environment that knows nothing of opdkit, as the text of a module."""

LAMP = '''
class Lamp:
    """Off at first; `size` is how often "on" must be said. No word of opdkit is in here."""

    def __init__(self, size: int = 1):
        self.size = size

    def reset(self, seed):
        self.left = self.size
        return f"Lamp {seed} is off.", ["on", "wait"]

    def step(self, action):
        self.left -= action.strip() == "on"
        done = self.left == 0
        info = {"admissible": ["on", "wait"], "score": 1 - self.left / self.size}
        return ("It is on." if done else "It is off."), float(done), done, info

    def gold(self):
        return ["on"] * self.size


class Chair:
    def reset(self, seed):
        return "A chair.", []
'''
