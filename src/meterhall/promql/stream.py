"""The parser's view of the tokens: one token ahead, pulled lazily, and errors about them."""

from meterhall.model.errors import PromQLError
from meterhall.promql.lexer import Lexer
from meterhall.promql.position import parse_error
from meterhall.promql.strings import quote_text, unquote
from meterhall.promql.tokens import Token, describe

# More nesting than this is refused: each level costs the parser up to four Python frames.
NESTING_MAX = 100


class TokenStream:
    """Tokens of one text.

    `context` names the enclosing rule that words a syntax error; the parser sets it while an
    aggregation is open.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.context = ""
        self._lexer = Lexer(text)
        self._ahead: list[Token] = []
        self._depth = 0

    def peek(self) -> Token:
        """The next token, left where it is."""
        if not self._ahead:
            self._ahead.append(self._lexer.next_token())
        return self._ahead[-1]

    def next(self) -> Token:
        """The next token, taken."""
        self.peek()
        return self._ahead.pop()

    def put_back(self, token: Token) -> None:
        """Makes a token that was taken the next one again."""
        self._ahead.append(token)

    def accept(self, kind: str) -> Token | None:
        """The next token, taken if it is of this kind."""
        return self.next() if self.peek().kind == kind else None

    def expect(self, kind: str) -> Token:
        """The next token, which must be of this kind; else the enclosing rule's error."""
        if self.peek().kind != kind:
            raise self.unexpected()
        return self.next()

    def unexpected(self, context: str | None = None, expected: str = "") -> PromQLError:
        """The error about the next token, worded for a rule or for the enclosing one."""
        token = self.peek()
        where = self.context if context is None else context
        reason = f"unexpected {describe(token)}"
        if where:
            reason += f" in {where}"
        if expected:
            reason += f", expected {expected}"
        return self.error(token.start, reason)

    def error(self, offset: int, reason: str) -> PromQLError:
        """An error at a byte offset."""
        return parse_error(self.text, offset, reason)

    def unquoted(self, token: Token) -> str:
        """The value of a string token."""
        value = unquote(token.text)
        if value is None:
            reason = f"error unquoting string {quote_text(token.text)}: invalid syntax"
            raise self.error(token.start, reason)
        return value

    def enter(self) -> None:
        """One level deeper; refused beyond NESTING_MAX."""
        self._depth += 1
        if self._depth > NESTING_MAX:
            reason = f"expression is nested too deeply, more than {NESTING_MAX} levels"
            raise self.error(self.peek().start, reason)

    def leave(self) -> None:
        """One level up."""
        self._depth -= 1
