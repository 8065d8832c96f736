"""Each error of Concertino's own is a sentence that says what to do, or stands here with the reason why it cannot."""

import re

import pytest

from .messages import CLOSE, OPEN, Message, messages_of, package_messages

_NOTHING = "says nothing"
_NO_SENTENCE = "begins as no sentence"
_NO_END = "does not end as a sentence"
_WITHOUT_REMEDY = "does not say what to do"

#: What a remedy says to do.
_VERBS = (
    "acknowledge add ask begin bring call change check choose close combine configure "
    "convert copy decorate expose feed find fire free get give have install leave let level "
    "look lower make mend mount move name open pass prepare put raise read reconstruct "
    "remove rename repeat replace report reserve restart restore resume run save say scan "
    "search see set start step stop subscribe switch take throw trigger trust try "
    "unsubscribe update use wait wrap write yield"
)
_SENTENCE = "|".join(verb.capitalize() for verb in _VERBS.split())
_DO = "|".join(_VERBS.split()) + "|" + _SENTENCE

# At the start of a sentence or clause, after another remedy ("Give A, or use B"), or after its condition.
_REMEDY = re.compile(
    rf"(?:[.;?!:)–] |, |, (?:or|and|so|then|else)(?: |: )|; (?:else|or|then|if [^,;.]*,|in [^,;.]*,) |^)(?:first |please )?(?:{_DO})\b"
    rf"|{CLOSE} (?:{_SENTENCE})\b"  # a sentence after one that is a value
)
# What can be had instead: "; it takes 0 V or more", "; its limits are 0 to 10 mm".
_POSSIBLE = re.compile(
    r"[;.] (?:(?:it|they|one|connected)(?:'s)? (?:takes?|has|holds?|knows?|can be|needs|wants)"
    r"|(?:its \w+|there|a \w+) (?:takes?|has|holds?|knows?|is|are|can be|needs|wants))\b"
)
_VALUE = f"{OPEN}[^{CLOSE}]*{CLOSE}"
_BEGINS = re.compile(
    rf"(?:[A-Z]|{_VALUE}|['\"`\-]"  # a sentence, a value, a name in quotes
    r"|[a-z_][\w.]*(?:\(\))?(?: and [a-z_]\w*|, [a-z_]\w*)*: )"  # a parameter's name, or several
)
# A full stop or a question; a value that is a sentence; what another says; a command to be copied.
_ENDS = re.compile(
    rf"(?:[.?]|[.?]\)|[.?:] ?{_VALUE}|^{_VALUE}(?: {_VALUE})?"
    rf"|: (?:concertino|chmod|pip|dask) [^.]*)$"
)


_QUOTED = "says where, and quotes what failed, which says what to do"
_STATE = "says what somebody did on purpose, or what is so: nothing is left to do"
_PART = "a part of another message, which says what to do"
_FRAGMENT = "its last part comes from elsewhere in the source, and says what to do"
_PROGRAM = "is for the author of another program: the rule that it broke says what to do"

#: How messages begin that need say no remedy, and why; ⟨⟩ stands for a value.
NO_REMEDY = {
    "⟨⟩ asked run ⟨⟩ to pause (⟨⟩), and it is over.": _STATE,
    "⟨⟩: ⟨⟩": _QUOTED,
    "The encoder of ⟨⟩ failed: ⟨⟩": _QUOTED,
    "It has not said within ⟨⟩ s that it is off.": _PART,
    "It gives no reason.": _PART,
    "The scan stays paused: ⟨⟩": _QUOTED,
    "Camera ⟨⟩ was stopped after ⟨⟩ of ⟨⟩ frames": _STATE,
    "Camera ⟨⟩ failed after ⟨⟩ frames": _QUOTED,
    "Camera ⟨⟩ was stopped while it waited for a trigger": _STATE,
    "Motor ⟨⟩ was stopped at ⟨⟩": _STATE,
    "Camera ⟨⟩ was lost after ⟨⟩ frames": _QUOTED,
    "Camera ⟨⟩ cannot be set to that: ⟨⟩": _QUOTED,
    "its server said what cannot be read": _PART,
    "Camera ⟨⟩ died: it stopped answering": "what a simulated camera that is to fail says of itself",
    "⟨⟩ (process ⟨⟩) has not answered ⟨⟩": "nobody knows why: where it stands still, it says how to go on",
    "⟨⟩ was detached from stream ⟨⟩: ⟨⟩": _QUOTED,
    "The last run cannot be reconstructed live: ⟨⟩": _QUOTED,
    "The ⟨⟩ was lost during the run: ⟨⟩": _QUOTED,
    "⟨⟩ ⟨⟩": _FRAGMENT,
    "A part of the reconstruction failed on the dask cluster": _QUOTED,
    "⟨⟩ was interrupted": _STATE,
    "⟨⟩: ⟨⟩ was given; ⟨⟩.": _FRAGMENT,
    "The plan was ended: ⟨⟩": _STATE,
    "The run has no stop document": _PROGRAM,
    "⟨⟩ has the indices ⟨⟩ to ⟨⟩: it holds no frame.": _PROGRAM,
    "⟨⟩ describes frames from ⟨⟩ on": _PROGRAM,
    "The ⟨⟩ document ⟨⟩ breaks event-model's schema": _PROGRAM,
    "The ⟨⟩ document ⟨⟩ is out of order": _PROGRAM,
    "The ⟨⟩ document ⟨⟩ comes after": _PROGRAM,
    "The ⟨⟩ document ⟨⟩ refers to": _PROGRAM,
    "Frame stream ⟨⟩ failed after ⟨⟩ frames: ⟨⟩": _QUOTED,
    "Frame stream ⟨⟩ was closed before its end.": _STATE,
    "⟨⟩ left frame stream ⟨⟩: ⟨⟩": _QUOTED,
    "Subscriber ⟨⟩ of frame stream ⟨⟩ takes the ⟨⟩ frame and said": _PROGRAM,
    "Subscriber ⟨⟩ of frame stream ⟨⟩ acknowledged frames": _PROGRAM,
    "Subscriber ⟨⟩ of frame stream ⟨⟩ introduced itself again": _PROGRAM,
    "⟨⟩ ended with ⟨⟩: ⟨⟩": _QUOTED,
    "ReconstructionSettings: ⟨⟩": _QUOTED,
    "⟨⟩ cannot be catalogued: ⟨⟩": _QUOTED,
    "It is a copy of ⟨⟩": _PART,
    "The catalogue of ⟨⟩: ⟨⟩": _QUOTED,
    "Frame ⟨⟩ of ⟨⟩: ⟨⟩": _QUOTED,
}

#: Errors none of whose messages need say a remedy.
ERRORS_WITHOUT_REMEDY = {"ProtocolError": _PROGRAM}

#: Begin in lower case, as they are the end of another message's sentence.
LOWER_CASE = ("its server said what cannot be read",)


def _plain(text: str) -> str:
    return re.sub(_VALUE, OPEN + CLOSE, text)


def faults(text: str) -> list[str]:
    """Return what a message lacks of the grammar."""
    text = _plain(text)
    if not text:
        return [_NOTHING]
    found = []
    if not _BEGINS.match(text):
        found.append(_NO_SENTENCE)
    if not _ENDS.search(text):
        found.append(_NO_END)
    last = re.search(rf"[.?] ?{_VALUE}$|^{_VALUE}$", text)
    if not (_REMEDY.search(text) or _POSSIBLE.search(text) or last):
        found.append(_WITHOUT_REMEDY)
    return found


#: Nothing of their own but a mark: what begins so is excused only where nothing follows.
_ALL_QUOTED = ("⟨⟩: ⟨⟩", "⟨⟩ ⟨⟩")


def _excused(message: Message) -> list[str]:
    """Return the exceptions of the list that a message needs."""
    text = _plain(message.text)
    return [
        begin
        for begin in NO_REMEDY
        if (text == begin if begin in _ALL_QUOTED else text.startswith(begin))
    ]


def _faults_of(message: Message) -> list[str]:
    found = faults(message.text)
    if _plain(message.text).startswith(LOWER_CASE):
        found = [one for one in found if one != _NO_SENTENCE]
    if message.error in ERRORS_WITHOUT_REMEDY or _excused(message):
        found = [one for one in found if one != _WITHOUT_REMEDY]
    return found


@pytest.fixture(scope="module")
def messages() -> list[Message]:
    return package_messages()


def test_every_message_says_in_sentences_what_to_do(messages: list[Message]) -> None:
    wrong = [
        f"{message.where} {message.error} {', '.join(found)}: {message.text}"
        for message in messages
        if (found := _faults_of(message))
    ]
    assert not wrong, "These are no messages that help:\n" + "\n".join(wrong)


def test_every_exception_is_needed(messages: list[Message]) -> None:
    without = [one for one in messages if _WITHOUT_REMEDY in faults(one.text)]
    needed = {begin for one in without for begin in _excused(one)}
    idle = set(NO_REMEDY) - needed
    assert not idle, f"Strike these from the list: {idle}"
    assert set(ERRORS_WITHOUT_REMEDY) <= {one.error for one in without}


def test_hardly_a_message_is_hidden_from_the_source(messages: list[Message]) -> None:
    # A check that sees nothing of most messages finds nothing wrong with them.
    hidden = [one for one in messages if _plain(one.text) == OPEN + CLOSE]
    assert len(messages) > 600
    assert len(hidden) < 0.03 * len(messages)


_RAISES = """
class ConcertinoError(Exception): ...
class OwnError(ConcertinoError): ...
_HINT = "Give 1 or more."
def said(count):
    if count:
        return f"number: {count} was given; give 1 or more."
    return "number: nothing was given"
class Thing:
    def act(self, count, why):
        raise %s
"""


@pytest.mark.parametrize(
    ("error", "found"),
    [
        ("OwnError(f'number: {count} was given; give 1 or more.')", []),
        ("OwnError(f'Number {count} was given. Give 1 or more, or leave it out.')", []),
        ("OwnError(f'number: {count} was given. {_HINT}')", []),
        ("OwnError(f'{count} was given; it takes 1 or more.')", []),
        ("OwnError(f'{count} was given; it is wrong.')", ["does not say what to do"]),
        ("OwnError('There is no key. Make one with: concertino keys make FOLDER')", []),
        ("OwnError('It failed: see the log. ' + why)", []),
        ("OwnError('number must be 1. Give 1.')", ["begins as no sentence"]),
        ("OwnError('Give 1 or more')", ["does not end as a sentence"]),
        ("OwnError('The number is wrong.')", ["does not say what to do"]),
        ("OwnError(said(count))", ["does not end as a sentence", "does not say what to do"]),
        ("OwnError('Give 1.' if count else 'wrong')", [
            "begins as no sentence", "does not end as a sentence", "does not say what to do"]),
        ("OwnError()", ["says nothing"]),
        ("OwnError", ["says nothing"]),
        ("error(f'{count} is wrong')", ["does not end as a sentence", "does not say what to do"]),
        ("ValueError('wrong')", []),
    ],
)  # fmt: skip
def test_what_a_message_lacks_is_found(error: str, found: list[str]) -> None:
    made = messages_of({"module.py": _RAISES % error})
    assert [one for message in made for one in faults(message.text)] == found
