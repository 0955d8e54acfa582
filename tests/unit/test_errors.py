from __future__ import annotations

import errno
from pathlib import Path

from kmi import errors
from kmi.errors import (
    HostError,
    InternalError,
    KmiError,
    ManyErrors,
    NetworkError,
    UsageError,
    VerificationError,
    foreign,
)


def test_one_class_one_exit_status() -> None:
    classes = KmiError.__subclasses__()
    codes = {cls.__name__: cls.exit_code for cls in classes}
    assert codes == {
        "BuildError": 1, "UsageError": 2, "InternalError": 3, "VerificationError": 4, "GateError": 5,
        "NetworkError": 6, "HostError": 7, "Interrupted": 130,
    }  # fmt: skip
    assert all(not cls.__subclasses__() or {sub.exit_code for sub in cls.__subclasses__()} == {cls.exit_code}
               for cls in classes)  # fmt: skip


def test_an_error_answers_five_questions() -> None:
    error = VerificationError(
        "checksum mismatch", expected="a", got="b", where="x.yaml:3", hint="look again", log=Path("l")
    )
    first, *facts = str(error).splitlines()
    assert first == "checksum mismatch"
    assert [fact.split(None, 1) for fact in facts] == [
        ["expected", "a"], ["got", "b"], ["where", "x.yaml:3"], ["hint", "look again"], ["log", "l"],
    ]  # fmt: skip
    assert str(UsageError("bare")) == "bare"


def test_many_errors_have_the_worst_status() -> None:
    assert ManyErrors({"a": UsageError("x"), "b": NetworkError("y")}).exit_code == errors.NetworkError.exit_code


def test_a_foreign_exception_is_the_machines_fault_or_a_bug() -> None:
    full = foreign(OSError(errno.ENOSPC, "No space left on device", "/cache/x"))
    assert (type(full), full.where, full.hint) == (HostError, "/cache/x", errors._HOST[errno.ENOSPC][1])
    assert isinstance(full.__cause__, OSError)
    for error in (ZeroDivisionError("x"), MemoryError(), BrokenPipeError(errno.EPIPE, "x"), FileNotFoundError(2, "x")):
        found = foreign(error)
        assert isinstance(found, InternalError)
        assert found.__cause__ is error
    many = ManyErrors({"a": full, "b": foreign(MemoryError())})
    assert list(many.bugs) == ["b"]


def test_a_file_that_is_too_large_for_its_file_system_is_no_bug() -> None:
    assert type(foreign(OSError(errno.EFBIG, "File too large", "/cache/x"))) is HostError
