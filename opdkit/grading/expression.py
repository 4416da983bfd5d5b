"""A hand-written parser of plain expressions: 30 us, where math-verify's grammar takes 2 to 7 ms.

Supported are numbers, letters with subscripts, Greek letters, `\\pi`, `e`, `i`, + - * /, powers, roots, fractions,
binomials, factorials, absolute values, elementary functions, degrees, brackets and juxtaposition. Anything
else, or an ambiguous expression, raises UnreadableError: then math-verify parses it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from fractions import Fraction

from opdkit.grading.trees import MINUS_ONE, ONE, Node, UnreadableError, product

_TOKEN = re.compile(
    r"\s*(?:(\\operatorname\s*\{[a-z]+\}|\\[A-Za-z]+|\d+\.\d*|\.\d+|\d+|[A-Za-z]+|\*\*|\\[{}|]|[-+*/^(){}\[\]!|_,])|\\(?=\s|$))"
)
_LETTERS = """alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi rho sigma
tau upsilon phi varphi chi psi omega Gamma Delta Theta Lambda Xi Sigma Phi Psi Omega ell hbar"""
_ELEMENTARY = "sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh ln log exp"
_GREEK = frozenset(_LETTERS.split())
FUNCTIONS = frozenset([*_ELEMENTARY.split(), "lg", "abs", "floor", "ceil"])
_PLAIN_FUNCTIONS = frozenset([*_ELEMENTARY.split(), "sqrt"])
_INVERSE = {"sin": "arcsin", "cos": "arccos", "tan": "arctan"}
_TIMES = frozenset(["*", "\\cdot", "\\times", "\\ast"])
_CLOSERS = (
    frozenset(["+", "-", ")", "}", "]", "^", "**", "!", "|", "_", ",", "\\}", "\\rfloor", "\\rceil", "/"]) | _TIMES
)
_FUNCTION_LETTERS = frozenset("fghFGHPQT")
_LARGEST_EXPONENT = 64
_LONGEST_NUMBER = 60
_DEEPEST = 40
_MOST_TOKENS, _MOST_DIVISIONS = 600, 20


def read_expression(text: str) -> Node:
    """The tree of a tidied expression. Raises UnreadableError."""
    tokens, place = list[str](), 0
    while match := _TOKEN.match(text, place):
        token = match.group(1)
        place = match.end()
        if token:
            tokens += _words(token)
    if text[place:].strip() or not 0 < len(tokens) <= _MOST_TOKENS or tokens.count("/") > _MOST_DIVISIONS:
        raise UnreadableError
    reader = _Reader(tokens)
    node = reader.sum()
    if reader.place != len(reader.tokens):
        raise UnreadableError
    return node


def _words(token: str) -> list[str]:
    """Splits `xy` into two letters and keeps names such as `sin` and `pi`."""
    if token.startswith("\\operatorname"):
        return ["\\" + token[token.index("{") + 1 : -1]]
    if not token.isalpha() or len(token) == 1:
        return [token]
    if token in _PLAIN_FUNCTIONS or token == "pi":
        return ["\\" + token]
    if len(token) > 3 or not token.isascii():
        raise UnreadableError  # a word
    return list(token)


@dataclass
class _Reader:
    tokens: list[str]
    place: int = 0
    depth: int = 0
    bars: list[int] = field(default_factory=list)

    def peek(self) -> str:
        return self.tokens[self.place] if self.place < len(self.tokens) else ""

    def take(self, wanted: str | None = None) -> str:
        token = self.peek()
        if not token or (wanted is not None and token != wanted):
            raise UnreadableError
        self.place += 1
        return token

    def sum(self) -> Node:
        self.depth += 1
        if self.depth > _DEEPEST:
            raise UnreadableError
        terms = [self.signed()]
        while self.peek() in ("+", "-"):
            terms.append(self.signed())
        self.depth -= 1
        return terms[0] if len(terms) == 1 else Node("add", tuple(terms))

    def signed(self) -> Node:
        negative = self.peek() in ("-", "+") and self.take() == "-"
        return Node("multiply", (MINUS_ONE, self.product())) if negative else self.product()

    def product(self) -> Node:
        factors, divided = [self.power()], False
        while True:
            token = self.peek()
            if token in _TIMES:
                self.take()
                factors.append(self.factor())
            elif token == "/":
                self.take()
                factors, divided = [Node("divide", (product(factors), self.factor()))], True
            elif (token and token not in _CLOSERS) or (token == "|" and not self.bars):
                if divided or (token == "\\frac" and self._after_number()):
                    raise UnreadableError  # 1/2x and 1\frac{1}{2} are ambiguous
                factors.append(self.power())
            else:
                return product(factors)

    def factor(self) -> Node:
        if self.peek() == "-":
            self.take()
            return Node("multiply", (MINUS_ONE, self.power()))
        return self.power()

    def _after_number(self) -> bool:
        return self.tokens[self.place - 1][-1].isdigit()

    def power(self) -> Node:
        base = self.postfix(self.atom())
        if self.peek() not in ("^", "**"):
            return base
        self.take()
        if self.peek() == "\\circ":
            self.take()
            return Node("degrees", (base,))
        exponent = self.exponent()
        if self.peek() in ("^", "**"):
            raise UnreadableError
        return self.postfix(Node("power", (base, exponent)))

    def exponent(self) -> Node:
        if self.peek() in ("-", "+"):
            sign = self.take()
            inner = self.atom()
            return Node("multiply", (MINUS_ONE, inner)) if sign == "-" else inner
        node = self.atom()  # all digits: `x^10` is meant as `x^{10}`
        if node.kind == "number" and abs(node.value) > _LARGEST_EXPONENT:
            raise UnreadableError
        return node

    def postfix(self, node: Node) -> Node:
        while self.peek() == "!":
            self.take()
            if node.kind == "factorial":
                raise UnreadableError
            node = Node("factorial", (node,))
        return node

    def group(self, closing: str) -> Node:
        outer, self.bars = self.bars, []
        node = self.sum()
        self.take(closing)
        self.bars = outer
        return node

    def atom(self) -> Node:
        token = self.take()
        if token in ("(", "{", "["):
            return self.group({"(": ")", "{": "}", "[": "]"}[token])
        if token == "|":
            self.bars.append(self.place)
            node = self.sum()
            self.take("|")
            self.bars.pop()
            return Node("abs", (node,))
        if token in ("\\lfloor", "\\lceil"):
            return Node(token[2:], (self.group("\\r" + token[2:]),))
        if token == "\\frac":
            return Node("divide", (self.braced_or_digit(), self.braced_or_digit()))
        if token == "\\binom":
            return Node("binomial", (self.braced_or_digit(), self.braced_or_digit()))
        if token == "\\sqrt":
            return self.root()
        if token[0] == "\\":
            return self.command(token)
        if token.isalpha():
            return self.letter(token)
        if token[0].isdigit() or token[0] == ".":
            if self.peek()[:1].isdigit() or len(token) > _LONGEST_NUMBER:
                raise UnreadableError
            return Node("number", value=Fraction(token.rstrip(".") if token[-1] == "." else token))
        raise UnreadableError

    def root(self) -> Node:
        degree = Node("number", value=Fraction(2))
        if self.peek() == "[":
            self.take()
            degree = self.group("]")
        return Node("root", (self.braced_or_digit(), degree))

    def command(self, token: str) -> Node:
        name = token[1:]
        if name == "pi":
            return Node("constant", name="pi")
        if name in _GREEK:
            return Node("symbol", name=name + self.subscript())
        if name in FUNCTIONS:
            return self.function(name)
        raise UnreadableError

    def letter(self, token: str) -> Node:
        subscript = self.subscript()
        if not subscript and token in ("e", "i"):
            return Node("constant", name=token)
        called = self.tokens[self.place : self.place + 3]
        simple = len(called) == 3 and called[0] == "(" and called[2] == ")"
        if simple and (called[1][0].isdigit() or token in _FUNCTION_LETTERS):
            raise UnreadableError  # f(2) is a value, not a product
        return Node("symbol", name=token + subscript)

    def subscript(self) -> str:
        if self.peek() != "_":
            return ""
        self.take()
        if self.peek() != "{":
            return "_" + self.take()
        end = self.place
        while end < len(self.tokens) and self.tokens[end] != "}":
            end += 1
        inner = "".join(self.tokens[self.place + 1 : end])
        self.place = end
        self.take("}")
        return "_" + inner

    def function(self, name: str) -> Node:
        base: Node | None = None
        power: Node | None = None
        if name in ("log", "lg") and self.peek() == "_":
            self.take()
            base = self.braced_or_digit()
        elif self.peek() in ("^", "**"):
            self.take()
            power = self.exponent()
        bracket = self.peek() in ("(", "{", "[", "|")
        argument = self.power() if bracket else self.argument()
        if power is not None and power.kind == "multiply" and power.parts == (MINUS_ONE, ONE):
            if name not in _INVERSE:
                raise UnreadableError
            return Node(_INVERSE[name], (argument,))
        node = Node("log_base", (argument, base)) if base else Node("log" if name == "lg" else name, (argument,))
        return Node("power", (node, power)) if power is not None else node

    def argument(self) -> Node:
        """The argument of a function without brackets: `\\sin 2x` and `\\ln\\frac{1}{2}`."""
        node = self.power()
        while (token := self.peek()) and (token[0].isalnum() or token in ("\\pi", "\\sqrt") or token[1:] in _GREEK):
            node = Node("multiply", (node, self.power()))
        return node

    def braced_or_digit(self) -> Node:
        """LaTeX takes one digit as an argument without braces: `\\sqrt23` is three times the root of two."""
        token = self.peek()
        if token.isdigit():
            self.tokens[self.place : self.place + 1] = [token[0], token[1:]] if len(token) > 1 else [token]
            self.place += 1
            return Node("number", value=Fraction(int(token[0])))
        return self.atom()
