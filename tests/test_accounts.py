"""Researchers' accounts: what can be made and read of them, and how fast passwords may be tried."""

import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from survey import accounts
from survey.accounts import AccountError, Throttle, parse_users, write_user

PASSWORD = "correct horse battery"


@pytest.fixture(autouse=True)
def no_users_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(accounts.VARIABLE, raising=False)
    monkeypatch.setattr(accounts, "HASHER", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))


@dataclass
class Clock:
    now_s: float = 1_000_000.0

    def __call__(self) -> float:
        return self.now_s


def test_many_tries_at_once_gain_nothing() -> None:
    throttle = Throttle(free=5, clock=lambda: 0.0)
    with ThreadPoolExecutor(16) as pool:
        waits = list(pool.map(lambda _: throttle.take("x"), range(200)))
    assert sum(wait == 0 for wait in waits) == 6


def test_the_throttle_remembers_a_bounded_number_and_forgets_with_time() -> None:
    clock = Clock(0.0)
    throttle = Throttle(free=0, longest_s=4.0, forget_s=100.0, most=3, clock=clock)
    assert [throttle.take("a"), throttle.take("a")] == [0, 1]
    for key in "bcd":
        throttle.take(key)
    assert throttle.take("a") == 0, "the oldest went"
    waits = []
    for _ in range(2000):
        waits.append(throttle.take("a"))
        assert waits[-1] == throttle.wait_s("a")
        clock.now_s += waits[-1]
        assert throttle.take("a") == 0
    assert waits[:4] == [1, 2, 4, 4]
    assert max(waits) == 4
    clock.now_s += 200
    assert [throttle.take("a"), throttle.take("a")] == [0, 1]


@pytest.mark.parametrize("entry", ["ada", "ada:", "ada:secret", ":$argon2id$", "a b:$argon2id$v=19$m=1$YQ$YQ"])
def test_a_faulty_entry_is_named_by_number_and_not_shown(entry: str) -> None:
    with pytest.raises(AccountError, match="here, entry 2: expected name:hash") as caught:
        parse_users(f"# first\n{entry}", source="here")
    assert "secret" not in str(caught.value)


def test_the_file_is_its_owners_alone_and_holds_no_password(tmp_path: Path) -> None:
    path = write_user(tmp_path / "survey", "ada", PASSWORD)
    write_user(tmp_path / "survey", "eve", "another password")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert PASSWORD not in path.read_text()
    assert parse_users(accounts.user_line("ada", PASSWORD), source="here").keys() == {"ada"}
    assert [line.partition(":")[0] for line in path.read_text().splitlines()] == ["ada", "eve"]
    assert [file.name for file in path.parent.iterdir()] == ["users"]


@pytest.mark.parametrize(
    ("name", "password", "message"),
    [
        ("a:b", PASSWORD, "a name has"),
        ("", PASSWORD, "a name has"),
        ("-x", PASSWORD, "a name has"),
        ("ada", "short", "expected 10 to 1024"),
        ("ada", "x" * 1025, "expected 10 to 1024"),
    ],
)
def test_accounts_that_cannot_be_made(tmp_path: Path, name: str, password: str, message: str) -> None:
    with pytest.raises(AccountError, match=message):
        write_user(tmp_path, name, password)
    assert not (tmp_path / "users").exists()
