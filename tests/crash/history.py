"""What happens to a mailbox in the course of time: random steps, each possible when it happens."""

import random
from itertools import count

from crash.language import FLAGS
from crash.model import Model

MOST_MAILS = 30
MOST_FOLDERS = 6
USUAL = ("deliver",) * 6 + ("flag",) * 5 + ("expunge",) * 3 + ("move",) * 5 + ("copy",) * 2
# Not `backwards`: a sequence that has caught up before anybody looks hides what changed below.
RARE = ("create", "delete", "rename", "renumber", "shuffle", "empty")
VERBS = USUAL * 2 + RARE


class History:
    """The same seed gives the same history."""

    def __init__(self, seed: object, model: Model) -> None:
        self._dice, self._model, self._numbers = random.Random(str(seed)), model, count(1)

    def step(self) -> str:
        """The next step, in the words of `language`."""
        while True:
            verb = self._dice.choice(VERBS)
            if (found := self._step(verb)) is not None:
                return f"{verb} {found}"

    def _step(self, verb: str) -> str | None:
        folders = self._model.folders
        name = self._dice.choice(list(folders))
        words = [mail.word for mail in folders[name].mails.values()]
        target = self._dice.choice(list(folders))
        match verb:
            case "deliver":
                return self._delivery(name)
            case "create":
                return self._new() if len(folders) < MOST_FOLDERS else None
            case "rename" | "delete" if name == "INBOX":
                return None
            case "rename":
                return f"{name} -> {self._new()}"
            case "delete" | "renumber" | "shuffle" | "empty":
                return name
            case "flag" if words:
                return f"{name} {self._dice.choice(words)} {self._dice.choice('+-')}{self._flag()}"
            case "expunge" if words:
                return f"{name} {self._dice.choice(words)}"
            case "move" | "copy" if words and name != target:
                chosen = self._dice.sample(sorted(set(words)), self._dice.randint(1, min(3, len(set(words)))))
                return f"{name} {' '.join(chosen)} -> {target}"
        return None

    def _delivery(self, name: str) -> str | None:
        mails = [mail.word for folder in self._model.folders.values() for mail in folder.mails.values()]
        if len(mails) >= MOST_MAILS:
            return None
        word = f"m{next(self._numbers)}"
        if mails and self._dice.random() < 0.1:
            word = self._dice.choice([self._dice.choice(mails), f"{self._dice.choice(mails)}'"])
        return f"{name} {word}{self._dice.choice(['', f'+{self._flag()}'])}"

    def _new(self) -> str:
        return f"{self._dice.choice(['F', 'Größe', '請求書'])}{next(self._numbers)}"

    def _flag(self) -> str:
        return self._dice.choice(list(FLAGS))
